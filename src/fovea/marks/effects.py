"""What is done with pixels: blur, gray, and blending by coverage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageFilter

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def blur(base: np.ndarray, sigma: float | tuple[float, float]) -> np.ndarray:
    """Gaussian blur of ``(H, W, 3)`` uint8; one sigma, or one across and one down, in pixels."""
    return np.asarray(Image.fromarray(base).filter(ImageFilter.GaussianBlur(sigma)))


def gray(base: np.ndarray) -> np.ndarray:
    """The picture without colour, ``(H, W, 3)`` uint8."""
    return np.repeat((base @ _LUMA + 0.5).astype(np.uint8)[..., None], 3, axis=-1)


def blend(inside: np.ndarray, outside: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Show one picture inside of every region and another outside.

    Args:
        inside: ``(H, W, 3)`` uint8, or a colour ``(3,)``, or one of these per region.
        outside: likewise.
        coverage: ``(N, H, W)`` float32 in 0..1, 1 inside.

    Returns:
        ``(N, H, W, 3)`` uint8.
    """
    blended = np.empty((len(coverage), 3, *coverage.shape[1:]), np.uint8)
    # Colour by colour and region by region, always in the same memory: it stays in the processor's cache.
    mixed = np.empty(blended.shape[1:], np.float32)
    insides, outsides = _planes(inside, len(coverage)), _planes(outside, len(coverage))
    for plane, share, shown, hidden in zip(blended, coverage, insides, outsides, strict=True):
        np.subtract(shown, hidden, out=mixed)
        mixed *= share
        mixed += hidden
        mixed += 0.5
        plane[:] = mixed
    return blended.transpose(0, 2, 3, 1)


def _planes(pixels: np.ndarray, count: int) -> Iterable[np.ndarray]:
    """For each region ``(3, H, W)`` float32, or ``(3, 1, 1)`` for a colour."""
    values = pixels.astype(np.float32)
    if values.ndim == 1:
        return [values[:, None, None]] * count
    planes = np.ascontiguousarray(np.moveaxis(values, -1, -3))
    return planes if planes.ndim == 4 else [planes] * count

"""What is done with pixels: blur, gray, and blending by coverage."""

from __future__ import annotations

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
    difference = inside.astype(np.float32) - outside.astype(np.float32)
    return (outside + coverage[..., None] * difference + 0.5).astype(np.uint8)

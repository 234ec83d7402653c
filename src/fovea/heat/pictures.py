"""Heat maps, hidden patches and candidate masks laid over a picture, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

# From cold to hot: dark blue, cyan, yellow, red, at equal distances.
_COLOURS = np.array([[0, 0, 96], [0, 160, 255], [255, 230, 0], [200, 0, 0]], np.float32)


def enlarged(
    values: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """A map ``(h, w)`` at the size of a picture, width and height: ``(H, W)`` float32."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, how))


def heat_picture(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture under its heat map.

    Args:
        pixels: ``(H, W, 3)`` uint8.
        heat: ``(h, w)`` float of any size, 0..1.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    height, width = pixels.shape[:2]
    spread = enlarged(heat, (width, height), Image.Resampling.BICUBIC).clip(0, 1)
    places = spread * (len(_COLOURS) - 1)
    lower = np.minimum(places.astype(int), len(_COLOURS) - 2)
    share = (places - lower)[..., None]
    colours = (1 - share) * _COLOURS[lower] + share * _COLOURS[lower + 1]
    return np.asarray((0.5 * pixels + 0.5 * colours + 0.5).astype(np.uint8))


def hidden_picture(pixels: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """A picture with the patches black that a round could not see: ``visible`` is ``(rows, columns)`` bool."""
    height, width = pixels.shape[:2]
    seen = enlarged(visible, (width, height), Image.Resampling.NEAREST) > 0.5
    return np.asarray(np.where(seen[..., None], pixels, 0).astype(np.uint8))


def candidates_picture(pixels: np.ndarray, masks: Iterable[np.ndarray]) -> np.ndarray:
    """A picture that is gray and dark but for what ``(H, W)`` bool masks cover; the more of them, the brighter."""
    gray = np.repeat(pixels.mean(-1, keepdims=True), 3, axis=-1)
    count, covering = 0, np.zeros((*pixels.shape[:2], 1), np.float32)
    for mask in masks:
        count += 1
        covering[..., 0] += mask
    cover = covering / max(count, 1)
    shown = np.where(cover > 0, pixels, 0.4 * gray)
    return np.asarray((shown * np.where(cover > 0, 0.6 + 0.4 * cover, 1)).astype(np.uint8))

"""Cutting things out of pictures along their masks, to be pasted elsewhere.

Source: X-Paste's rules as PIN uses them, on masks that are given: the largest component, a tight crop, limits of its
area (specs/pin.md, 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

#: Why a thing is not cut out.
Reason = Literal["too small", "too little of its box", "too much of its box"]


@dataclass(frozen=True)
class CutLimits:
    """What is cut out.

    Attributes:
        least_share: of the box that the thing fills, 0..1; wires and scattered bits fill less.
        most_share: of the box that the thing fills, 0..1; masks that are boxes fill more.
        least_side: pixels of the longer side of the box: smaller things would be enlarged until nobody knew them.
        longest: pixels of the longer side to which larger things are shrunk.
    """

    least_share: float = 0.05
    most_share: float = 0.95
    least_side: int = 32
    longest: int = 512


def cut(pixels: np.ndarray, alpha: np.ndarray, limits: CutLimits) -> Image.Image | Reason:
    """Cut a thing out.

    Holes of the mask stay holes: what shows through them is not the thing.

    Args:
        pixels: ``(H, W, 3)`` uint8 RGB.
        alpha: ``(H, W)`` bool, or uint8 where edges are soft; of several components the largest counts.
        limits: what is cut out at all.

    Returns:
        A tight crop of mode ``RGBA``, or why there is none.
    """
    from scipy import ndimage

    ys, xs = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(ys):
        return "too small"
    around = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    labels, _ = ndimage.label(alpha[around])
    largest = int(np.argmax(np.bincount(labels.reshape(-1))[1:])) + 1
    rows, columns = ndimage.find_objects(labels)[largest - 1]
    seen = labels[rows, columns] == largest
    height, width = seen.shape
    if max(height, width) < limits.least_side:
        return "too small"
    share = float(seen.mean())
    if share < limits.least_share:
        return "too little of its box"
    if share > limits.most_share:
        return "too much of its box"
    opaque = np.full(seen.shape, 255, np.uint8) if alpha.dtype == bool else alpha[around][rows, columns]
    image = Image.fromarray(np.dstack([pixels[around][rows, columns], opaque * seen]))
    scale = limits.longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)

"""How much of every pixel a region covers: the soft shapes that effects are blended by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
from PIL import Image

# Thinner lines vanish in the small pictures that models see.
_THINNEST = 1.2

Size = tuple[int, int]


def box_coverage(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Share of every pixel that boxes cover.

    Args:
        boxes: ``(N, 4)`` xyxy pixels, continuous.
        size: width and height of the picture.

    Returns:
        ``(N, height, width)`` float32 in 0..1.
    """
    across, down = (
        np.clip(
            np.minimum(np.arange(side) + 1, boxes[:, axis + 2, None])
            - np.maximum(np.arange(side), boxes[:, axis, None]),
            0,
            1,
        )
        for axis, side in enumerate(size)
    )
    return (down[:, :, None] * across[:, None, :]).astype(np.float32)


def _ellipse_distance(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Signed distance in pixels to the inscribed ellipses, negative inside: ``(N, height, width)`` float32.

    The first-order distance, value over gradient, is exact enough within the few pixels where it matters.
    """
    xs, ys = np.arange(size[0], dtype=np.float32) + 0.5, np.arange(size[1], dtype=np.float32) + 0.5
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, 0.5)
    u = ((xs - center[:, 0, None]) / half[:, 0, None])[:, None, :]
    v = ((ys - center[:, 1, None]) / half[:, 1, None])[:, :, None]
    radius = np.sqrt(u * u + v * v) + 1e-6
    slope = np.sqrt((u / half[:, 0, None, None]) ** 2 + (v / half[:, 1, None, None]) ** 2) / radius + 1e-6
    return ((radius - 1) / slope).astype(np.float32)


def ellipse_coverage(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Share of every pixel inside of the ellipses inscribed in boxes; shapes as in :func:`box_coverage`."""
    return np.clip(0.5 - _ellipse_distance(boxes, size), 0, 1)


def mask_coverage(
    masks: Iterable[np.ndarray], size: Size, boxes: Sequence[tuple[float, float, float, float]] | None = None
) -> np.ndarray:
    """Share of every target pixel that masks cover.

    Args:
        masks: N of them, ``(H, W)`` bool; read one by one.
        size: width and height to come to.
        boxes: for each mask the part to show, xyxy pixels inside of it; all of it by default.

    Returns:
        ``(N, height, width)`` float32 in 0..1.
    """
    covered = [
        np.asarray(Image.fromarray(mask.view(np.uint8) * 255).resize(size, Image.Resampling.BOX, part))
        for mask, part in (zip(masks, repeat(None)) if boxes is None else zip(masks, boxes, strict=True))
    ]
    return np.stack(covered).astype(np.float32) / 255


def scaled_about_centre(coverage: np.ndarray, scale: float) -> np.ndarray:
    """Shapes ``(N, H, W)`` grown about their own centre of mass; empty ones stay empty."""
    if scale == 1:
        return coverage
    grown = np.empty_like(coverage)
    ys, xs = np.mgrid[: coverage.shape[1], : coverage.shape[2]] + 0.5
    for row, shape in enumerate(coverage):
        total = max(float(shape.sum()), 1e-6)
        x, y = float((shape * xs).sum() / total), float((shape * ys).sum() / total)
        matrix = (1 / scale, 0, x - x / scale, 0, 1 / scale, y - y / scale)
        moved = Image.fromarray(shape).transform(
            shape.shape[::-1], Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        grown[row] = np.asarray(moved)
    return grown


def drawn_width(thickness: int) -> int:
    """Pixels that OpenCV draws for a thickness: 1, 3, 5, 5, 7, 7 ... (specs/fgvp.md, a)."""
    return 1 if thickness == 1 else 2 * ((thickness + 1) // 2) + 1


def ellipse_lines(boxes: np.ndarray, size: Size, width: float) -> np.ndarray:
    """Lines of a width in pixels along inscribed ellipses: ``(N, height, width)`` float32 in 0..1."""
    return np.clip(max(_THINNEST, width) / 2 + 0.5 - np.abs(_ellipse_distance(boxes, size)), 0, 1)


def box_lines(boxes: np.ndarray, size: Size, width: float) -> np.ndarray:
    """Lines along the sides of boxes; as :func:`ellipse_lines`."""
    reach = np.array([-1, -1, 1, 1], np.float32) * max(_THINNEST, width) / 2
    return np.clip(box_coverage(boxes + reach, size) - box_coverage(boxes - reach, size), 0, 1)


def mask_lines(coverage: np.ndarray, width: float) -> np.ndarray:
    """Lines along the outlines of soft shapes, holes included: ``(N, height, width)`` float32 in 0..1.

    The difference of the widened and the narrowed shape, whose soft edges make the line smooth.
    """
    width = max(_THINNEST, width)
    # Shapes widen by whole pixels to either side: lines are drawn at an even width and thinned by their strength.
    reach = max(1, round(width / 2))
    shapes = (coverage * 255 + 0.5).astype(np.uint8)
    lines = (_spread(shapes, reach, np.maximum) - _spread(shapes, reach, np.minimum)).astype(np.float32)
    lines *= width / (2 * reach) / 255
    return np.minimum(lines, 1, out=lines)


def _spread(shapes: np.ndarray, reach: int, extreme: np.ufunc) -> np.ndarray:
    """The extreme of the square of ``2 * reach + 1`` pixels around each pixel of ``(N, H, W)``, one axis at a time."""
    for axis in (1, 2):
        moved = np.moveaxis(shapes, axis, 0)
        spread = moved.copy()
        for step in range(1, reach + 1):
            extreme(spread[step:], moved[:-step], out=spread[step:])
            extreme(spread[:-step], moved[step:], out=spread[:-step])
        shapes = np.moveaxis(spread, 0, axis)
    return shapes

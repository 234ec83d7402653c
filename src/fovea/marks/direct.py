"""Marks drawn at the model's own input size, after one antialiased resample: the default way.

The released programs resample a picture up to three times, twice with aliasing, and draw hard edges
(:mod:`fovea.marks.parity`). Here the picture is squashed to the input square once, effects are computed once, and each
region blends them with soft edges.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fovea.marks.styles import Effect, Geometry, MarkOptions, MarkStyle
from fovea.pictures import Picture
from fovea.regions import Regions

# Thinner lines vanish in the small pictures that models see.
_THINNEST = 1.2
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
        inside: ``(H, W, 3)`` uint8.
        outside: ``(H, W, 3)`` uint8, or a colour ``(3,)``.
        coverage: ``(N, H, W)`` float32 in 0..1, 1 inside.

    Returns:
        ``(N, H, W, 3)`` uint8.
    """
    difference = inside.astype(np.float32) - outside.astype(np.float32)
    return (outside + coverage[..., None] * difference + 0.5).astype(np.uint8)


def box_coverage(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
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


def _ellipse_distance(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
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


def ellipse_coverage(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of every pixel inside of the ellipses inscribed in boxes; shapes as in :func:`box_coverage`."""
    return np.clip(0.5 - _ellipse_distance(boxes, size), 0, 1)


def mask_coverage(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of every target pixel that masks cover.

    Args:
        masks: ``(N, H, W)`` bool.
        size: width and height to come to.

    Returns:
        ``(N, height, width)`` float32 in 0..1.
    """
    covered = [
        np.asarray(Image.fromarray(mask.view(np.uint8) * 255).resize(size, Image.Resampling.BOX)) for mask in masks
    ]
    return np.stack(covered).astype(np.float32) / 255


def drawn_width(thickness: int) -> int:
    """Pixels that OpenCV draws for a thickness: 1, 3, 5, 5, 7, 7 ... (specs/fgvp.md, a)."""
    return 1 if thickness == 1 else 2 * ((thickness + 1) // 2) + 1


def _ellipse_lines(boxes: np.ndarray, size: tuple[int, int], thickness: float) -> np.ndarray:
    return np.clip(thickness / 2 + 0.5 - np.abs(_ellipse_distance(boxes, size)), 0, 1)


def _box_lines(boxes: np.ndarray, size: tuple[int, int], thickness: float) -> np.ndarray:
    reach = np.array([-1, -1, 1, 1], np.float32) * thickness / 2
    return np.clip(box_coverage(boxes + reach, size) - box_coverage(boxes - reach, size), 0, 1)


_LINES: dict[Geometry, Callable[[np.ndarray, tuple[int, int], float], np.ndarray]] = {
    Geometry.BOX: _box_lines,
    Geometry.ELLIPSE: _ellipse_lines,
}


def draw_ellipses(base: np.ndarray, boxes: np.ndarray, colour: tuple[int, int, int], thickness: float) -> np.ndarray:
    """One picture per box with its inscribed ellipse drawn: ``(N, H, W, 3)`` uint8."""
    lines = _ellipse_lines(boxes, (base.shape[1], base.shape[0]), thickness)
    return blend(np.asarray(colour, np.float32), base, lines)


def crop(image: Image.Image, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut boxes out and resample each to a size, straight from the picture: ``(N, height, width, 3)`` uint8.

    Boxes narrower than a pixel are widened to one.
    """
    crops = []
    for x1, y1, x2, y2 in boxes.tolist():
        x1, y1 = min(x1, image.width - 1), min(y1, image.height - 1)
        box = (x1, y1, min(max(x2, x1 + 1), image.width), min(max(y2, y1 + 1), image.height))
        crops.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC, box)))
    return np.stack(crops)


def _coverage(regions: Regions, boxes: np.ndarray, geometry: Geometry, size: tuple[int, int]) -> np.ndarray:
    if geometry is Geometry.BOX:
        return box_coverage(boxes, size)
    if geometry is Geometry.ELLIPSE:
        return ellipse_coverage(boxes, size)
    return mask_coverage(regions.dense_masks(), size)


def render(
    picture: Picture,
    regions: Regions,
    style: MarkStyle,
    size: tuple[int, int],
    options: MarkOptions | None = None,
) -> np.ndarray:
    """Mark every region on a copy of the picture.

    Args:
        picture: what is looked at.
        regions: N regions of it.
        style: the visual prompt.
        size: width and height to draw at; the picture is squashed to it, as CLIP's released preprocessing in
            ReCLIP and FGVP does.
        options: how marks look.

    Returns:
        ``(N, height, width, 3)`` uint8.

    Raises:
        RegionError: the style needs masks and the regions have none.
    """
    options = options or MarkOptions()
    if not len(regions):
        return np.zeros((0, size[1], size[0], 3), np.uint8)
    if style.geometry is Geometry.CROP:
        return crop(picture.image, regions.boxes, size)
    base = np.asarray(picture.image.resize(size, Image.Resampling.BICUBIC))
    if style.geometry is Geometry.WHOLE:
        return np.repeat(base[None], len(regions), axis=0)
    scale = np.array(size, np.float32) / np.array(picture.size, np.float32)
    boxes = regions.boxes * np.tile(scale, 2)
    # Lengths are given on a picture whose shorter side is the marking size.
    unit = scale * min(picture.size) / options.marking_size
    if style.effect is Effect.LINE:
        thickness = max(_THINNEST, float(unit.mean()) * drawn_width(options.thickness))
        lines = _LINES[style.geometry](boxes, size, thickness)
        return blend(np.asarray(options.line_colour, np.float32), base, lines)
    coverage = _coverage(regions, boxes, style.geometry, size)
    if style.effect is Effect.FILL:
        return blend(np.asarray(options.fill_colour, np.float32), base, coverage * options.alpha)
    if style.effect is Effect.GRAY:
        return blend(base, gray(base), coverage)
    sigma = options.blur_sigma * unit
    return blend(base, blur(base, (float(sigma[0]), float(sigma[1]))), coverage)

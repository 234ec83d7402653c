"""Marks drawn at the model's own input size, after one antialiased resample: the default way.

The released programs resample a picture up to three times, twice with aliasing, and draw hard edges
(:mod:`fovea.marks.parity`). Here the picture is squashed to the input square once, effects are computed once, and each
region blends them with soft edges.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from fovea.marks.coverage import (
    Size,
    box_coverage,
    box_lines,
    drawn_width,
    ellipse_coverage,
    ellipse_lines,
    mask_coverage,
    mask_lines,
    scaled_about_centre,
)
from fovea.marks.effects import blend, blur, gray
from fovea.marks.styles import Effect, Geometry, MarkOptions, MarkStyle
from fovea.pictures import Picture
from fovea.regions import Regions

# Radius of the circle at a point, in shares of the marking size (specs/fgvp.md, a).
_POINT_RADIUS = 0.06


class Canvas:
    """A picture at the size of a model's input, with its effects, which all regions and styles share.

    Args:
        picture: what is looked at.
        size: width and height to draw at; the picture is squashed to it, as CLIP's released preprocessing in ReCLIP
            and FGVP does.
        options: how marks look.
    """

    def __init__(self, picture: Picture, size: Size, options: MarkOptions) -> None:
        self.picture, self.size, self.options = picture, size, options
        scale = np.array(size, np.float32) / np.array(picture.size, np.float32)
        self._scale = np.tile(scale, 2)
        # Lengths are given on a picture whose shorter side is the marking size.
        self._unit = scale * min(picture.size) / options.marking_size

    @cached_property
    def base(self) -> np.ndarray:
        """``(height, width, 3)`` uint8."""
        return np.asarray(self.picture.image.resize(self.size, Image.Resampling.BICUBIC))

    @cached_property
    def gray(self) -> np.ndarray:
        """Without colour."""
        return gray(self.base)

    @cached_property
    def blurred(self) -> np.ndarray:
        """Blurred."""
        across, down = self.options.blur_sigma * self._unit
        return blur(self.base, (float(across), float(down)))

    @property
    def nbytes(self) -> int:
        """Bytes that a canvas keeps alive, for the cache's bound: its three pictures and the one it was made from."""
        return 9 * self.size[0] * self.size[1] + 3 * self.picture.width * self.picture.height

    def mask_shapes(self, regions: Regions) -> np.ndarray:
        """How much of every pixel each mask covers: ``(N, height, width)`` float32 in 0..1; all styles share it."""
        return mask_coverage(regions.each_mask(), self.size)

    def box_shapes(self, regions: Regions) -> np.ndarray:
        """How much of every pixel each box covers; as :meth:`mask_shapes`."""
        return box_coverage(self._boxes(regions), self.size)

    def draw(self, regions: Regions, style: MarkStyle, mask_shapes: np.ndarray | None = None) -> np.ndarray:
        """Mark every region on a copy of the picture.

        Args:
            regions: N regions of the picture.
            style: the visual prompt.
            mask_shapes: what :meth:`mask_shapes` says of them, where the caller has it from another style.

        Returns:
            ``(N, height, width, 3)`` uint8.

        Raises:
            RegionError: the style needs masks and the regions have none.
        """
        if not len(regions):
            return np.zeros((0, self.size[1], self.size[0], 3), np.uint8)
        if style.cropped:
            return self._draw_crops(regions, style)
        if style.effect is Effect.NONE:
            return np.repeat(self.base[None], len(regions), axis=0)
        if style.needs_masks and mask_shapes is None:
            mask_shapes = self.mask_shapes(regions)
        if style.effect is Effect.LINE:
            lines = self._lines(regions, style.geometry, mask_shapes)
            return blend(np.asarray(self.options.line_colour), self.base, lines)
        return self._affected(self.base, self._coverage(regions, style.geometry, mask_shapes), style.effect)

    def _affected(self, base: np.ndarray, coverage: np.ndarray, effect: Effect) -> np.ndarray:
        """The effects that are blended by coverage, on the picture or on crops of it."""
        colour, alpha = np.asarray(self.options.fill_colour), self.options.alpha
        if effect is Effect.FILL:
            return blend(colour, base, coverage * alpha)
        if effect is Effect.FILL_OUTSIDE:
            return blend(colour, base, (1 - coverage) * alpha)
        if effect is Effect.HIDE:
            return blend(base, colour, coverage)
        if effect is Effect.GRAY:
            return blend(base, self.gray, coverage)
        return blend(base, self.blurred, coverage)

    def _boxes(self, regions: Regions) -> np.ndarray:
        return np.asarray(regions.boxes * self._scale)

    def _coverage(self, regions: Regions, geometry: Geometry, mask_shapes: np.ndarray | None) -> np.ndarray:
        if mask_shapes is not None:
            return scaled_about_centre(mask_shapes, self.options.contour_scale)
        if geometry is Geometry.BOX:
            return box_coverage(self._boxes(regions), self.size)
        return ellipse_coverage(_scaled(self._boxes(regions), self.options.contour_scale), self.size)

    def _lines(self, regions: Regions, geometry: Geometry, mask_shapes: np.ndarray | None) -> np.ndarray:
        width = float(self._unit.mean()) * drawn_width(self.options.thickness)
        if geometry is Geometry.BOX:
            return box_lines(self._boxes(regions), self.size, width)
        if mask_shapes is not None:
            return mask_lines(self._coverage(regions, geometry, mask_shapes), width)
        boxes = self._boxes(regions)
        if geometry is Geometry.POINT:
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            reach = _POINT_RADIUS * self.options.marking_size * self._unit
            boxes = np.concatenate([centers - reach, centers + reach], axis=1)
        else:
            boxes = _scaled(boxes, self.options.contour_scale)
        return ellipse_lines(boxes, self.size, width)

    def _draw_crops(self, regions: Regions, style: MarkStyle) -> np.ndarray:
        boxes = [crop_box(box, self.picture.size, self.options.crop_margin) for box in regions.boxes.tolist()]
        crops = np.stack(
            [np.asarray(self.picture.image.resize(self.size, Image.Resampling.BICUBIC, box)) for box in boxes]
        )
        if style.effect is Effect.NONE:
            return crops
        if style.geometry is Geometry.WHOLE:
            return self._affected(crops, np.ones(crops.shape[:3], np.float32), style.effect)
        coverage = mask_coverage(regions.each_mask(), self.size, boxes)
        if style.effect is not Effect.BLUR:
            return self._affected(crops, coverage, style.effect)
        sigma = self.options.blur_sigma * min(self.size) / self.options.marking_size
        return blend(crops, np.stack([blur(crop, sigma) for crop in crops]), coverage)


def _scaled(boxes: np.ndarray, scale: float) -> np.ndarray:
    """Boxes grown about their centres."""
    centers, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    return np.concatenate([centers - half, centers + half], axis=1)


def crop_box(box: list[float], size: Size, margin: float = 0.0) -> tuple[float, float, float, float]:
    """What a crop shows: the box, widened by a share of its sides, at least a pixel wide, inside of the picture."""
    x1, y1, x2, y2 = box
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left, top = max(0.0, min(x1 - dx, size[0] - 1)), max(0.0, min(y1 - dy, size[1] - 1))
    return left, top, min(max(x2 + dx, left + 1), size[0]), min(max(y2 + dy, top + 1), size[1])


def render(
    picture: Picture, regions: Regions, style: MarkStyle, size: Size, options: MarkOptions | None = None
) -> np.ndarray:
    """Mark every region on a copy of the picture; see :meth:`Canvas.draw`.

    Args:
        picture: what is looked at.
        regions: N regions of it.
        style: the visual prompt.
        size: width and height to draw at.
        options: how marks look.

    Returns:
        ``(N, height, width, 3)`` uint8.
    """
    return Canvas(picture, size, options or MarkOptions()).draw(regions, style)

"""What regions show, in words: one text for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from fovea.marks.coverage import mask_coverage
from fovea.marks.direct import render
from fovea.marks.styles import parse_style
from fovea.pictures import Picture
from fovea.regions import Regions, encode_masks

if TYPE_CHECKING:
    from fovea.backbones.captioner import AlphaCaptioner

#: How a captioner gets to know which region is meant.
View = Literal["alpha", "crop"]

# Around pictures that are no squares: CLIP's mean colour, as LLaVA has it.
_MARGIN = (122, 116, 104)

# Regions whose pictures exist at a time.
_AT_ONCE = 64


def view_of(captioner: AlphaCaptioner) -> View:
    """How a captioner is shown regions: by an alpha plane where it takes one, else as crops."""
    return "alpha" if captioner.has_alpha else "crop"


def describe_regions(captioner: AlphaCaptioner, picture: Picture, regions: Regions) -> list[str]:
    """One text per region.

    A captioner with an alpha plane sees the whole picture and where to look: the mask, or the box that is filled where
    there is none. Any other one sees the crop of the region, and nothing around it.

    Args:
        captioner: writes.
        picture: what is looked at.
        regions: N regions of it.
    """
    if not captioner.has_alpha:
        size = (captioner.image_size, captioner.image_size)
        return [
            text
            for some in _chunks(regions)
            for text in captioner.caption(render(picture, some, parse_style("crop"), size))
        ]
    marked = regions if regions.masks is not None else regions.with_filled_boxes()
    if captioner.padded:
        picture, marked = padded_square(picture, marked)
    return [text for some in _chunks(marked) for text in captioner.describe(*alpha_planes(captioner, picture, some))]


def alpha_planes(captioner: AlphaCaptioner, picture: Picture, regions: Regions) -> tuple[np.ndarray, np.ndarray]:
    """A picture once per region, and where to look, both brought to the captioner's input in the same way.

    Returns:
        ``(N, S, S, 3)`` uint8 and ``(N, S, S)`` float32 in 0..1.
    """
    size = (captioner.image_size, captioner.image_size)
    pixels = np.asarray(picture.image.resize(size, Image.Resampling.BICUBIC))
    return np.repeat(pixels[None], len(regions), axis=0), mask_coverage(regions.dense_masks(), size)


def padded_square(picture: Picture, regions: Regions) -> tuple[Picture, Regions]:
    """A picture in the middle of a square with a margin of the mean colour, and its regions with masks in the square.

    No mask covers the margin.
    """
    width, height = picture.size
    side = max(picture.size)
    left, top = (side - width) // 2, (side - height) // 2
    square = Image.new("RGB", (side, side), _MARGIN)
    square.paste(picture.image, (left, top))
    masks = np.zeros((len(regions), side, side), bool)
    masks[:, top : top + height, left : left + width] = regions.dense_masks()
    boxes = regions.boxes + np.array([left, top, left, top])
    return Picture(square, picture.path), Regions(boxes, (side, side), regions.source, encode_masks(masks))


def _chunks(regions: Regions) -> list[Regions]:
    return [regions.select(range(i, min(i + _AT_ONCE, len(regions)))) for i in range(0, len(regions), _AT_ONCE)]

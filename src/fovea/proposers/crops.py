"""Overlapping crops, layer by layer finer, in which small things are found: crop layers of segment-anything."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

# How much neighbouring crops overlap, as a share of the picture's shorter side, in the first layer.
_OVERLAP = 512 / 1500

# A mask whose box comes this close to the edge of its crop, in pixels, is surely cut off.
_EDGE = 20.0


@dataclass(frozen=True)
class Crop:
    """A part of a picture.

    Attributes:
        box: x1, y1, x2, y2 in whole pixels; right and bottom exclusive.
        layer: 0 is the picture itself.
    """

    box: tuple[int, int, int, int]
    layer: int

    @property
    def area(self) -> int:
        """Pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


def crop_layers(size: tuple[int, int], layers: int) -> list[Crop]:
    """The picture, and for layer ``i`` from 1 on a square of ``2 ** i`` by ``2 ** i`` crops of it.

    Args:
        size: width and height of the picture.
        layers: how many finer layers there are.
    """
    crops = [Crop((0, 0, *size), 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(_OVERLAP * min(size) * 2 / count)
        width, height = (ceil((overlap * (count - 1) + side) / count) for side in size)
        for column in range(count):
            for row in range(count):
                x, y = column * (width - overlap), row * (height - overlap)
                if x >= size[0] or y >= size[1]:
                    # A tiny picture has fewer crops.
                    continue
                crops.append(Crop((x, y, min(x + width, size[0]), min(y + height, size[1])), layer))
    return crops


def cut_off(boxes: np.ndarray, crop: Crop, size: tuple[int, int]) -> np.ndarray:
    """Which boxes lie at an edge of a crop that is no edge of the picture: ``(N,)`` bool.

    Args:
        boxes: ``(N, 4)`` xyxy pixels of the picture; as released, the last pixel is inclusive.
        crop: that they were found in.
        size: width and height of the picture.
    """
    at_crop = np.abs(boxes - np.array(crop.box)) <= _EDGE
    at_picture = np.abs(boxes - np.array([0, 0, *size])) <= _EDGE
    return np.asarray((at_crop & ~at_picture).any(axis=1))

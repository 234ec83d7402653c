"""Masks from outlines, as COCO's files hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from fovea.errors import RegionError
from fovea.regions import Rle, rle_from_json

# In sides of the picture. Outlines of real things stay far below; drawing takes memory in proportion.
_LONGEST_OUTLINE = 200


def mask_from_coco(segmentation: Any, size: tuple[int, int]) -> Rle:
    """A mask from COCO's run lengths or polygons.

    Args:
        segmentation: as a file has it.
        size: width and height of the picture in pixels.

    Raises:
        RegionError: it is neither, or makes no sense.
    """
    if isinstance(segmentation, dict):
        return rle_from_json(segmentation)
    try:
        polygons = [_polygon(numbers, size) for numbers in segmentation]
        merged: Rle = coco_mask.merge(coco_mask.frPyObjects(polygons, size[1], size[0]))
    except Exception as error:
        # pycocotools raises bare exceptions, whatever is wrong.
        raise RegionError(
            "a segmentation is neither polygons nor run lengths", "is the file in COCO's form?"
        ) from error
    return merged


def _polygon(numbers: Any, picture_size: tuple[int, int]) -> np.ndarray:
    """``x, y, x, y ...`` of a polygon that pycocotools can draw: it walks along every edge, and trusts what it gets.

    Corners farther outside than the picture is large are moved closer, which hardly shows inside of it.
    """
    points = np.asarray(numbers, np.float64).reshape(-1, 2)
    if np.ndim(numbers) != 1 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("a polygon needs three corners")
    size = np.array(picture_size)
    points = points.clip(-size, 2 * size)
    if np.abs(np.diff(points, axis=0)).max(1).sum() > _LONGEST_OUTLINE * size.max():
        raise ValueError("the outline is too long")
    return points.reshape(-1)

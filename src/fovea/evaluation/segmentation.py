"""The protocol of a segmenter: how well do its masks fit, from boxes, points and a grid?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.evaluation.examples import Example
from fovea.pictures import open_picture
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.sam_grid import SamGrid
from fovea.proposers.sam_prompts import add_masks, regions_at
from fovea.regions import Regions, decode_masks, mask_iou


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """The point of a mask that is farthest from its edge, where a person would click: x and y in pixels."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(x) + 0.5, float(y) + 0.5


def evaluate_segmenter(
    segmenter: SamSegmenter, examples: Sequence[Example], grid: GridSettings, advance: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Measure a segmenter on pictures with known masks.

    Args:
        segmenter: what is measured.
        examples: on what; their annotated regions must have masks.
        grid: settings of the point grid.
        advance: called after every picture.

    Returns:
        ``n`` regions; ``box_iou``: mean IoU of the mask from every true box; ``point_iou``: mean IoU of the mask from
        one click, SAM choosing among its three; ``grid_recall``: share of regions that the grid finds with a mask IoU
        above 0.5; ``grid_proposals``: how many regions it offers per picture.
    """
    boxed: list[float] = []
    clicked: list[float] = []
    found: list[bool] = []
    offered: list[int] = []
    for example in examples:
        picture, cache = open_picture(example.picture), FeatureCache()
        truth = example.truth.masks or ()
        from_boxes = add_masks(picture, Regions(example.truth.boxes, picture.size), segmenter, cache)
        boxed += np.diag(mask_iou(from_boxes.masks or (), truth)).tolist()
        points = np.array([inner_point(mask) for mask in decode_masks(truth)], np.float32)
        from_points = regions_at(picture, points, segmenter, cache)
        clicked += np.diag(mask_iou(from_points.masks or (), truth)).tolist()
        proposed = SamGrid(segmenter, grid).propose(picture, cache)
        offered.append(len(proposed))
        overlaps = mask_iou(proposed.masks or (), truth)
        found += (overlaps.max(axis=0, initial=0) > 0.5).tolist()
        advance()
    return {
        "n": len(boxed),
        "box_iou": round(float(np.mean(boxed)), 4),
        "point_iou": round(float(np.mean(clicked)), 4),
        "grid_recall": round(float(np.mean(found)), 4),
        "grid_proposals": round(float(np.mean(offered)), 2),
    }

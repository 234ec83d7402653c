"""Measures of referring segmentation: mIoU, oIoU and precision at IoU (specs/iterprime.md, 6).

Every expression has one predicted and one true mask. What is counted of them is two integers, so results are kept in a
file and summarised later without their masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from fovea.errors import RegionError
from fovea.regions import Rle

#: An expression counts at each of these where its IoU is greater.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

# Two empty masks agree fully; an empty one agrees with no other.
_EPSILON = 1e-6


@dataclass(frozen=True)
class Overlap:
    """What a predicted and a true mask share and cover, both in pixels."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """0..1; two empty masks give 1, a single empty one next to 0."""
        return (self.intersection + _EPSILON) / (self.union + _EPSILON)


def overlap(prediction: np.ndarray, target: np.ndarray) -> Overlap:
    """Compare two ``(H, W)`` bool masks.

    Raises:
        RegionError: they have different sizes.
    """
    prediction, target = np.asarray(prediction, bool), np.asarray(target, bool)
    _check_sizes(prediction.shape, target.shape)
    return Overlap(int((prediction & target).sum()), int((prediction | target).sum()))


def overlap_encoded(prediction: Rle | None, target: Rle) -> Overlap:
    """Compare two run-length encoded masks without decoding them; an absent prediction is an empty mask.

    Raises:
        RegionError: they have different sizes.
    """
    area = int(coco_mask.area(target))
    if prediction is None:
        return Overlap(0, area)
    _check_sizes(tuple(prediction["size"]), tuple(target["size"]))
    shared = int(coco_mask.area(coco_mask.merge([prediction, target], intersect=True)))
    return Overlap(shared, int(coco_mask.area(prediction)) + area - shared)


def _check_sizes(prediction: tuple[int, ...], target: tuple[int, ...]) -> None:
    if prediction != target:
        raise RegionError(f"masks of {prediction} and {target} pixels cannot be compared", "give them one size")


def summarise_overlaps(overlaps: Sequence[Overlap]) -> dict[str, float | int]:
    """Averages over expressions, each counted once.

    Args:
        overlaps: one per expression; absent answers are among them.

    Returns:
        ``n``; ``mIoU``: the mean IoU; ``oIoU``: all shared pixels by all covered ones, 1 where nothing is covered;
        ``P@0.5`` to ``P@0.9``: the share of expressions with a greater IoU. All 0..1, and 0 where there are none.
    """
    ious = np.array([one.iou for one in overlaps] or [0.0])
    covered = sum(one.union for one in overlaps)
    shared = sum(one.intersection for one in overlaps)
    return {
        "n": len(overlaps),
        "mIoU": float(ious.mean()),
        "oIoU": shared / covered if covered else float(bool(overlaps)),
        **{f"P@{threshold}": float((ious > threshold).mean()) for threshold in THRESHOLDS},
    }

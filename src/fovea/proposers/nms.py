"""Non-maximum suppression on boxes."""

from __future__ import annotations

import numpy as np

from fovea.regions import box_iou


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Keep the best of every group of overlapping boxes.

    Args:
        boxes: ``(N, 4)`` xyxy.
        scores: ``(N,)``; ties are broken by order.
        threshold: a box goes when its IoU with a better kept one is greater.

    Returns:
        Indices of the kept boxes, best first, int64.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    overlaps = box_iou(boxes[order], boxes[order]) > threshold
    alive = np.ones(len(order), bool)
    for row in range(len(order)):
        if alive[row]:
            alive[row + 1 :] &= ~overlaps[row, row + 1 :]
    return np.asarray(order[alive])

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
    rest = np.argsort(-np.asarray(scores), kind="stable")
    kept: list[int] = []
    while len(rest):
        kept.append(int(rest[0]))
        # One row of IoU at a time: a dense grid offers thousands of boxes, and most go early.
        rest = rest[1:][box_iou(boxes[rest[:1]], boxes[rest[1:]])[0] <= threshold]
    return np.array(kept, np.int64)

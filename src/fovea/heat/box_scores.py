"""From a heat map to a box: the one that holds much heat for its size (specs/iterprime.md, 11).

Source: Shen et al., "GroundVLP: Harnessing Zero-shot Visual Grounding from Vision-Language Pre-training and
Open-Vocabulary Object Detection", AAAI 2024.
"""

from __future__ import annotations

import numpy as np


def box_scores(boxes: np.ndarray, heat: np.ndarray, confidences: np.ndarray | None = None) -> np.ndarray:
    """Heat inside of boxes over the square root of their areas, times what the detector thinks of them.

    Where heat is summed, corners are cut down to whole pixels, as released; areas are those of the boxes as they are.

    Args:
        boxes: ``(N, 4)`` xyxy pixels inside of the picture.
        heat: ``(H, W)`` float of the picture's size.
        confidences: ``(N,)`` of the detector; all are 1 by default.

    Returns:
        ``(N,)`` float64; a box without area gets 0.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    whole = boxes.astype(int).tolist()
    inside = np.array([heat[top:bottom, left:right].sum(dtype=np.float64) for left, top, right, bottom in whole])
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    scores = np.divide(inside, np.sqrt(areas), out=np.zeros(len(boxes)), where=areas > 0)
    return scores if confidences is None else scores * confidences

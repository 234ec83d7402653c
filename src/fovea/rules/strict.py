"""How regions lie to each other, as tables of truth between 0 and 1."""

from __future__ import annotations

import numpy as np

from fovea.regions import box_areas, box_overlaps


def _centers(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice the middle of every box, x and y: ``(N,)`` each. Only their order counts."""
    return boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A quotient that is 0 where the whole is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def relation_table(boxes: np.ndarray, relation: str) -> np.ndarray:
    """The relations of ReCLIP between all pairs of boxes.

    Args:
        boxes: ``(N, 4)`` xyxy pixels.
        relation: a row of :data:`fovea.language.keywords.RELATIONS`.

    Returns:
        ``(N, N)`` float64: how true it is that i stands in the relation to j. 0 or 1; for ``inside`` the share of i
        that lies in j.
    """
    boxes = np.asarray(boxes, np.float64)
    across, down = _centers(boxes)
    areas = box_areas(boxes)
    if relation == "inside":
        inside = _share(box_overlaps(boxes[:, None], boxes[None]), np.repeat(areas[:, None], len(boxes), axis=1))
        np.fill_diagonal(inside, 1.0)
        return inside
    smaller_first = {
        "left": across,
        "right": -across,
        "above": down,
        "below": -down,
        "bigger": -areas,
        "smaller": areas,
    }
    order = smaller_first[relation]
    return np.asarray(order[:, None] < order[None], np.float64)


def between_table(boxes: np.ndarray) -> np.ndarray:
    """``(N, N, N)`` float64: the share of i that lies in the box around j and k; 0 where two of them are the same."""
    boxes = np.asarray(boxes, np.float64)
    around = np.concatenate(
        [np.minimum(boxes[:, None, :2], boxes[None, :, :2]), np.maximum(boxes[:, None, 2:], boxes[None, :, 2:])],
        axis=-1,
    )
    shared = box_overlaps(boxes[:, None, None], around[None])
    table = _share(shared, np.broadcast_to(box_areas(boxes)[:, None, None], shared.shape))
    same = np.eye(len(boxes), dtype=bool)
    table[same[:, :, None] | same[:, None, :] | same[None]] = 0
    return table

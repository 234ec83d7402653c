"""How regions lie to each other and in the picture, as degrees of truth between 0 and 1.

The strict tables of ReCLIP (:mod:`fovea.rules.strict`) count a hair's breadth as "left of"; these grow with
the distance.
"""

from __future__ import annotations

import numpy as np

from fovea.language.phrases import RelationName, Side
from fovea.regions import box_areas, box_overlaps

# How far things must be apart to be surely ordered: shares of the picture's side, natural logarithms of box sides.
_SOFT_DISTANCE = 0.04
_SOFT_SIZE = 0.12
# How sharply the picture is parted into halves, and how wide its middle is: shares of its side.
_SOFT_HALF = 0.1
_MIDDLE = 0.2
# How quickly nearness fades, in shares of the side, and how far off the way "between" still holds.
_NEAR = 0.1
_OFF_THE_WAY = 0.2

_SIGNS: dict[str, tuple[int, float]] = {"left": (0, -1.0), "right": (0, 1.0), "top": (1, -1.0), "bottom": (1, 1.0)}
_ORDERS: dict[RelationName, str] = {
    "left": "left",
    "right": "right",
    "above": "top",
    "behind": "top",
    "below": "bottom",
    "front": "bottom",
    "bigger": "bigger",
    "smaller": "smaller",
}


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))))


class Layout:
    """Where regions are and how large.

    Args:
        boxes: ``(N, 4)`` xyxy pixels.
        size: of the picture, width and height in pixels.
    """

    def __init__(self, boxes: np.ndarray, size: tuple[int, int]) -> None:
        self.boxes = np.asarray(boxes, np.float64) / np.array([*size, *size])
        self.centers = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        self.areas = np.maximum(box_areas(self.boxes), 1e-12)

    def __len__(self) -> int:
        return len(self.boxes)

    def beyond(self, along: str) -> np.ndarray:
        """``(N, N)``: how surely i is more so than j; ``along`` is a side, ``bigger`` or ``smaller``."""
        if along in _SIGNS:
            axis, sign = _SIGNS[along]
            values, softness = sign * self.centers[:, axis], _SOFT_DISTANCE
        else:
            values, softness = (0.5 if along == "bigger" else -0.5) * np.log(self.areas), _SOFT_SIZE
        return sigmoid((values[:, None] - values[None]) / softness)

    def at(self, sides: tuple[Side, ...]) -> np.ndarray:
        """``(N,)``: how surely every region is in a part of the picture; in its middle where no side is named."""
        offsets = self.centers - 0.5
        if not sides:
            return np.asarray(np.exp(-((np.abs(offsets).max(axis=1) / _MIDDLE) ** 2)))
        halves = [sigmoid(sign * offsets[:, axis] / _SOFT_HALF) for axis, sign in (_SIGNS[side] for side in sides)]
        return np.asarray(np.prod(halves, axis=0))

    def related(self, relation: RelationName) -> np.ndarray:
        """``(N, N)``: how surely i stands in a relation to j; none to itself."""
        if relation in _ORDERS:
            table = self.beyond(_ORDERS[relation])
        elif relation == "inside":
            table = box_overlaps(self.boxes[:, None], self.boxes[None]) / self.areas[:, None]
        else:
            table = np.exp(-np.linalg.norm(self.centers[:, None] - self.centers[None], axis=-1) / _NEAR)
        np.fill_diagonal(table, 0)
        return table

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """``(N,)``: how surely every region lies on the way between two things.

        Args:
            first: ``(N,)`` shares of the regions in the one thing.
            second: ``(N,)`` in the other.
        """
        found = np.zeros(len(self))
        # Ends that nearly nothing points at are left out, so that many regions stay affordable.
        for j in np.flatnonzero(first > 1e-3):
            for k in np.flatnonzero(second > 1e-3):
                if j != k:
                    found += first[j] * second[k] * self._on_the_way(int(j), int(k))
        return found

    def _on_the_way(self, j: int, k: int) -> np.ndarray:
        way, offset = self.centers[k] - self.centers[j], self.centers - self.centers[j]
        length = max(float(np.linalg.norm(way)), 1e-6)
        reach = offset @ way / length**2
        aside = (offset[:, 0] * way[1] - offset[:, 1] * way[0]) / length
        found = np.exp(-((np.abs(reach - 0.5) / 0.4) ** 4) - (aside / _OFF_THE_WAY) ** 2)
        found[[j, k]] = 0
        return np.asarray(found)


def ranked(members: np.ndarray, ahead: np.ndarray, rank: int) -> np.ndarray:
    """Chance of every region to be the ``rank``-th of its kind.

    Args:
        members: ``(N,)`` chance of every region to be of the kind, independently of the others.
        ahead: ``(N, N)`` chance that j stands before i, at ``[i, j]``.
        rank: from 1.

    Returns:
        ``(N,)``: chance that i is of the kind and that exactly ``rank - 1`` others of it stand before it.
    """
    # Row i holds the chances of 0 .. rank - 1 others before i, met one after the other.
    before = np.zeros((len(members), rank))
    before[:, 0] = 1.0
    chances = ahead * members[None]
    np.fill_diagonal(chances, 0)
    for chance in chances.T:
        moved = before * chance[:, None]
        before -= moved
        before[:, 1:] += moved[:, :-1]
    return np.asarray(members * before[:, rank - 1])

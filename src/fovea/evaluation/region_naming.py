"""How well regions are named, where their boxes are known: top-1 and mean average precision."""

from __future__ import annotations

import numpy as np


def top1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of regions whose best class is the right one.

    Args:
        scores: ``(R, C)``.
        labels: ``(R,)`` int64.

    Returns:
        0..1; not a number where there are no regions.
    """
    return float((scores.argmax(1) == labels).mean()) if len(labels) else float("nan")


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of how high each ranks its own regions among all.

    A class's average precision is the mean of the precisions at its own regions, in the order of their scores; of
    equal scores the first region comes first. Classes without a region are left out.

    Args:
        scores: ``(R, C)``, comparable within a column.
        labels: ``(R,)`` int64.

    Returns:
        0..1; not a number where there are no regions.
    """
    classes = np.unique(labels)
    if not len(classes):
        return float("nan")
    own = np.take_along_axis(labels[:, None] == classes, np.argsort(-scores[:, classes], axis=0, kind="stable"), axis=0)
    precision = own.cumsum(0) / np.arange(1, len(labels) + 1)[:, None]
    return float(((precision * own).sum(0) / own.sum(0)).mean())

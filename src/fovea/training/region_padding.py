"""Pictures with different numbers of regions in one batch (specs/regionspot.md, 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def repetition(count: int, length: int) -> np.ndarray:
    """Which regions fill up a picture as the released program does it: each several times, the last ones once more.

    Copies take part in attention and loss, which weigh regions differently then: it is there to reproduce the released
    training.

    Args:
        count: regions of the picture, at least 1.
        length: rows to fill, at least ``count``.

    Returns:
        ``(length,)`` int64, in ascending order.
    """
    base, more = divmod(length, count)
    return np.repeat(np.arange(count), [base + (index >= count - more) for index in range(count)])


def stack_padded(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack rows of several pictures; what is missing is zero.

    Args:
        parts: ``(n, ...)`` each, equal but for ``n``.

    Returns:
        ``(B, N, ...)`` with the largest ``n`` as N, and ``(B, N)`` bool, True where there is no region.
    """
    longest = max(map(len, parts))
    stacked = np.zeros((len(parts), longest, *parts[0].shape[1:]), parts[0].dtype)
    padding = np.ones((len(parts), longest), bool)
    for index, part in enumerate(parts):
        stacked[index, : len(part)] = part
        padding[index, : len(part)] = False
    return stacked, padding

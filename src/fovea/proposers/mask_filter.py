"""Mending masks: small holes are filled, small islands dropped, masks of no sensible size left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskFilter:
    """What to mend and what to leave out; all areas in pixels of the original picture.

    Attributes:
        fill_holes_below: background patches smaller than this inside of a mask, or cut off by it, are filled.
        drop_islands_below: patches of a mask smaller than this are dropped; the largest always stays.
        min_mask_area: smaller masks are left out altogether.
        max_mask_area: larger masks are left out altogether; None for no limit.
    """

    fill_holes_below: int = 0
    drop_islands_below: int = 0
    min_mask_area: int = 0
    max_mask_area: int | None = None

    @property
    def mends(self) -> bool:
        """Whether any mask could change."""
        return self.fill_holes_below > 0 or self.drop_islands_below > 0

    def mend(self, mask: np.ndarray) -> tuple[np.ndarray, bool]:
        """Holes first, then islands: the mended ``(H, W)`` bool mask, and whether anything changed."""
        filled, had_holes = fill_holes(mask, self.fill_holes_below)
        clean, had_islands = drop_islands(filled, self.drop_islands_below)
        return clean, had_holes or had_islands

    def keeps(self, area: int) -> bool:
        """Whether a mask of this area is offered at all."""
        return area >= self.min_mask_area and (self.max_mask_area is None or area <= self.max_mask_area)


@dataclass(frozen=True, eq=False)
class _Patches:
    """Connected patches of a plane, kept as runs of pixels along its rows: a thousand runs instead of a million pixels.

    Attributes:
        starts, ends: of every run, as positions in the plane with a column of nothing behind the last; end exclusive.
        labels: which patch each run belongs to; patches are numbered in the order of their first pixels.
        areas: pixels of every patch.
    """

    starts: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    areas: np.ndarray

    def pixels(self, chosen: np.ndarray) -> np.ndarray:
        """Positions of all pixels of some patches, in the plane without the extra column's positions."""
        runs = chosen[self.labels]
        starts, lengths = self.starts[runs], (self.ends - self.starts)[runs]
        before = np.cumsum(lengths) - lengths
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def _patches(plane: np.ndarray) -> _Patches:
    """Patches of ``(H, W + 1)`` bool whose last column is empty; pixels that touch at a corner belong together."""
    # Imported here, since settings are read at every start and masks are rarely mended.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    flat, stride = plane.ravel(), plane.shape[1]
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    changes = np.concatenate([[0], changes]) if flat[0] else changes
    starts, ends = changes[::2], changes[1::2]
    # The runs of the next row that a run touches lie side by side in the list.
    first, last = np.searchsorted(ends, starts + stride), np.searchsorted(starts, ends + stride, "right")
    touched = last - first
    upper = np.repeat(np.arange(len(starts)), touched)
    lower = np.repeat(first - (np.cumsum(touched) - touched), touched) + np.arange(len(upper))
    graph = coo_array((np.ones(len(upper), bool), (upper, lower)), shape=(len(starts), len(starts)))
    count, labels = connected_components(graph, directed=False)
    return _Patches(starts, ends, labels, np.bincount(labels, ends - starts, minlength=count))


def _with_empty_column(mask: np.ndarray) -> np.ndarray:
    # Rows in order, whatever the order of the mask: patches are positions along them.
    plane = np.zeros((mask.shape[0], mask.shape[1] + 1), bool)
    plane[:, :-1] = mask
    return plane


def fill_holes(mask: np.ndarray, below: int) -> tuple[np.ndarray, bool]:
    """Fill background patches (8-neighbours) with fewer than ``below`` pixels.

    Patches that the mask cuts off at the picture's border count as well, as in the released program.

    Args:
        mask: ``(H, W)`` bool.
        below: size limit in pixels.

    Returns:
        The filled mask and whether it changed.
    """
    if below <= 1 or mask.all():
        return mask, False
    holes = _patches(_with_empty_column(~mask))
    small = holes.areas < below
    if not small.any():
        return mask, False
    filled = _with_empty_column(mask)
    filled.ravel()[holes.pixels(small)] = True
    return np.ascontiguousarray(filled[:, :-1]), True


def drop_islands(mask: np.ndarray, below: int) -> tuple[np.ndarray, bool]:
    """Drop patches (8-neighbours) with fewer than ``below`` pixels; if all are small, the largest stays.

    Args:
        mask: ``(H, W)`` bool.
        below: size limit in pixels.

    Returns:
        The cleaned mask and whether it changed.
    """
    if below <= 1 or not mask.any():
        return mask, False
    cleaned = _with_empty_column(mask)
    islands = _patches(cleaned)
    small = islands.areas < below
    if not small.any():
        return mask, False
    if small.all():
        # The released program reports a change here even when the only patch stays.
        small[int(islands.areas.argmax())] = False
    cleaned.ravel()[islands.pixels(small)] = False
    return np.ascontiguousarray(cleaned[:, :-1]), True

"""Mending masks: small holes are filled, small islands dropped, masks of no sensible size left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Pixels that touch at a corner belong together.
_EIGHT = np.ones((3, 3), bool)


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


def _patches(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected patches of a mask: ``(H, W)`` labels from 1, and how many there are."""
    # Imported here, since settings are read at every start and masks are rarely mended.
    from scipy import ndimage

    labels, count = ndimage.label(mask, _EIGHT)
    return labels, int(count)


def _areas(labels: np.ndarray, count: int) -> np.ndarray:
    """Pixels of every label; label 0 counts nothing."""
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    return areas


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The mask's bounding box and one pixel around it, within the picture."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    rows = slice(max(int(ys[0]) - 1, 0), min(int(ys[-1]) + 2, height))
    return rows, slice(max(int(xs[0]) - 1, 0), min(int(xs[-1]) + 2, width))


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
    if not mask.any():
        # The whole background is one patch.
        return (np.ones_like(mask), True) if mask.size < below else (mask, False)
    rows, columns = _window(mask)
    labels, count = _patches(~mask[rows, columns])
    areas = _areas(labels, count)
    # What lies outside of the window, above or left of it, goes on from the patch at its first corner; what lies below
    # or right, from the one at its last: the mask does not reach the window's edge there.
    first, last = labels[0, 0], labels[-1, -1]
    height, width = mask.shape
    areas[first] += rows.start * width + columns.start * len(labels)
    areas[last] += (height - rows.stop) * width + (width - columns.stop) * len(labels)
    small = (areas < below) & (areas > 0)
    if not small.any():
        return mask, False
    filled = mask.copy()
    filled[rows, columns] |= small[labels]
    if small[first]:
        filled[: rows.start] = filled[rows, : columns.start] = True
    if small[last]:
        filled[rows.stop :] = filled[rows, columns.stop :] = True
    return filled, True


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
    rows, columns = _window(mask)
    labels, count = _patches(mask[rows, columns])
    areas = _areas(labels, count)
    small = (areas < below) & (areas > 0)
    if not small.any():
        return mask, False
    if small.sum() == count:
        # The released program reports a change here even when the only patch stays.
        small[int(areas.argmax())] = False
    cleaned = np.zeros_like(mask)
    keep = ~small
    keep[0] = False
    cleaned[rows, columns] = keep[labels]
    return cleaned, True

"""The mask filter against arrays of the released program, and against labelling the whole picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fovea.proposers.mask_filter import MaskFilter, drop_islands, fill_holes
from fovea.regions import mask_bounds

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fgvp" / "mask_filter.npz")


@pytest.mark.parametrize("threshold", [1, 10, 25, 60, 400])
def test_both_passes_match(threshold: int) -> None:
    for mask, expected, changed in zip(
        GOLDEN["masks"], GOLDEN[f"out_t{threshold}"], GOLDEN[f"changed_t{threshold}"], strict=True
    ):
        filled, had_holes = fill_holes(mask, threshold)
        clean, had_islands = drop_islands(filled, threshold)
        np.testing.assert_array_equal(clean, expected)
        assert [had_holes, had_islands] == list(changed)
        mended, _ = MaskFilter(fill_holes_below=threshold, drop_islands_below=threshold).mend(mask)
        np.testing.assert_array_equal(mended, expected)


def test_single_passes_match() -> None:
    for mask, holes, islands in zip(GOLDEN["masks"], GOLDEN["holes_only_t25"], GOLDEN["islands_only_t25"], strict=True):
        np.testing.assert_array_equal(fill_holes(mask, 25)[0], holes)
        np.testing.assert_array_equal(drop_islands(mask, 25)[0], islands)


def test_a_tiny_empty_mask_becomes_full() -> None:
    filled, changed = fill_holes(GOLDEN["tiny_empty_in"], 400)
    assert changed
    np.testing.assert_array_equal(filled, GOLDEN["tiny_empty_out_t400"])


def slow_fill(mask: np.ndarray, below: int) -> np.ndarray:
    labels, count = ndimage.label(~mask, np.ones((3, 3)))
    for label in range(1, count + 1):
        if (labels == label).sum() < below:
            mask = mask | (labels == label)
    return mask


def slow_drop(mask: np.ndarray, below: int) -> np.ndarray:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    areas = [int((labels == label).sum()) for label in range(1, count + 1)]
    kept = [label for label, area in enumerate(areas, 1) if area >= below]
    return np.isin(labels, kept or [int(np.argmax(areas)) + 1 if areas else -1])


@settings(max_examples=150, deadline=None)
@given(arrays(bool, (13, 17), elements=st.booleans()), st.integers(2, 60))
def test_patches_of_runs_equal_labelling_every_pixel(mask: np.ndarray, below: int) -> None:
    for ordered in (mask, np.asfortranarray(mask)):
        np.testing.assert_array_equal(fill_holes(ordered, below)[0], slow_fill(mask, below))
        np.testing.assert_array_equal(drop_islands(ordered, below)[0], slow_drop(mask, below))


@settings(max_examples=150, deadline=None)
@given(
    arrays(bool, (6, 7), elements=st.booleans()),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.integers(2, 80),
)
def test_margins_are_background_too(core: np.ndarray, margins: tuple[int, int, int, int], below: int) -> None:
    top, bottom, left, right = margins
    mask = np.pad(core, ((top, bottom), (left, right)))
    np.testing.assert_array_equal(fill_holes(mask, below)[0], slow_fill(mask, below))
    np.testing.assert_array_equal(drop_islands(mask, below)[0], slow_drop(mask, below))


def test_a_mask_that_cuts_the_picture_in_two() -> None:
    mask = np.zeros((30, 40), bool)
    mask[4:9] = True
    filled, changed = fill_holes(mask, 200)
    assert changed
    assert filled[:9].all()
    assert not filled[9:].any()


def test_areas_out_of_range_are_left_out() -> None:
    limits = MaskFilter(min_mask_area=10, max_mask_area=20)
    assert [limits.keeps(area) for area in (9, 10, 20, 21)] == [False, True, True, False]
    assert MaskFilter().keeps(10**9)


def test_boxes_of_masks_match() -> None:
    """The released ones end at the last pixel, ours behind it; an empty mask has no box at all."""
    bounds, empty = mask_bounds(GOLDEN["masks"]), ~GOLDEN["masks"].any((1, 2))
    np.testing.assert_array_equal(bounds[~empty] - [0, 0, 1, 1], GOLDEN["mask_boxes_xyxy"][~empty])
    assert not bounds[empty].any()
    assert not GOLDEN["mask_boxes_xyxy"][empty].any()

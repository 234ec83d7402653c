"""The choice of a mask against the released program's choices, and against a slow obvious one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fovea.errors import RegionError
from fovea.heat.selection import SelectionSettings, count_components, heat_scores, peak_pixels, select_mask

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "iterprime" / "mask_selection.npz")
STRICT = SelectionSettings(strict=True)


def scenario(name: str, key: str) -> np.ndarray:
    return np.asarray(GOLDEN[f"{name}/{key}"])


@pytest.mark.parametrize("name", ["model_heat", "two_peaks", "cc_boundary", "second_choice", "none_passes"])
def test_released_choices_are_met(name: str) -> None:
    masks, heat = scenario(name, "masks").astype(bool), scenario(name, "heat")
    taken = [0] if name == "second_choice" else []
    found = select_mask(masks, heat, STRICT, taken)
    np.testing.assert_array_equal(peak_pixels(heat), scenario(name, "peaks"))
    np.testing.assert_array_equal([count_components(mask) for mask in masks], scenario(name, "ncc"))
    kept = scenario(name, "keep").copy()
    kept[taken] = False
    np.testing.assert_array_equal(found.kept, kept)
    # The recorded scores are sums in single precision.
    np.testing.assert_allclose(found.scores[kept], scenario(name, "scores")[kept], atol=1e-5)
    np.testing.assert_array_equal(found.mask, scenario(name, "selected_mask").astype(bool))
    if name == "none_passes":
        assert (found.region, found.by) == (None, "none")
    else:
        assert (found.region, found.by) == (int(scenario(name, "selected")), "tests")


def test_without_heat_every_pixel_is_a_peak_and_the_largest_mask_wins() -> None:
    masks, heat = scenario("flat_heat", "masks").astype(bool), scenario("flat_heat", "heat")
    found = select_mask(masks, heat, STRICT)
    np.testing.assert_array_equal(peak_pixels(heat), scenario("flat_heat", "peaks"))
    np.testing.assert_array_equal(found.kept, scenario("flat_heat", "keep"))
    assert found.region == int((masks.sum((1, 2)) * found.kept).argmax())


def slow_choice(masks: np.ndarray, heat: np.ndarray, most: int) -> int | None:
    best, best_score = None, 0.0
    for index, mask in enumerate(masks):
        holds_peak = any(mask[y, x] and heat[y, x] == heat.max() for y, x in np.ndindex(*heat.shape))
        if holds_peak and ndimage.label(mask)[1] <= most:
            score = (mask.sum() + (mask * heat.astype(np.float64)).sum()) / (mask.sum() + 1e-5)
            if best is None or score > best_score + 1e-12:
                best, best_score = index, score
    return best


@settings(max_examples=100, deadline=None)
@given(
    arrays(bool, (5, 6, 7)),
    arrays(np.float32, (6, 7), elements=st.integers(-4, 8).map(lambda value: value / 8)),
    st.integers(1, 5),
)
def test_the_choice_is_the_obvious_one(masks: np.ndarray, heat: np.ndarray, most: int) -> None:
    found = select_mask(masks, heat, SelectionSettings(most_components=most, strict=True))
    assert found.region == slow_choice(masks, heat, most)


def test_tests_are_given_up_one_after_the_other() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[0, 0], heat[4, 4:7] = 1.0, 0.5
    dots = np.indices((8, 8)).sum(0) % 2 == 0  # 32 pieces, one of them on the peak
    warm, cold = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    warm[4, 3:8], cold[7] = True, True
    cases = [([dots, warm], 0, "peak"), ([cold, warm], 1, "heat"), ([cold & False], None, "threshold")]
    for masks, region, by in cases:
        found = select_mask(np.array(masks), heat)
        assert (found.region, found.by) == (region, by)
        strict = select_mask(np.array(masks), heat, STRICT)
        assert (strict.region, strict.by, strict.mask.any()) == (None, "none", False)
    np.testing.assert_array_equal(found.mask, heat >= 0.5)


def test_nothing_proposed_and_nothing_hot_is_nothing() -> None:
    found = select_mask(np.zeros((0, 4, 5), bool), np.zeros((4, 5), np.float32))
    assert (found.region, found.by, found.mask.shape, found.mask.any()) == (None, "none", (4, 5), False)
    assert heat_scores(np.zeros((0, 4, 5), bool), np.zeros((4, 5))).shape == (0,)


def test_what_is_taken_is_not_chosen_again_under_any_rule() -> None:
    masks = np.ones((2, 3, 3), bool)
    heat = np.arange(9, dtype=np.float32).reshape(3, 3)
    order = [select_mask(masks, heat, taken=taken).region for taken in ([], [0], [0, 1])]
    assert order == [0, 1, None]


def test_a_peak_ratio_admits_more_peaks() -> None:
    heat = np.array([[1.0, 0.9, 0.2]], np.float32)
    masks = np.array([[[False, True, False]], [[False, False, True]]])
    assert select_mask(masks, heat, SelectionSettings(strict=True)).region is None
    assert select_mask(masks, heat, SelectionSettings(peak_ratio=0.8, strict=True)).region == 0


@pytest.mark.parametrize(
    ("masks", "heat"),
    [
        (np.zeros((1, 3, 4), bool), np.zeros((4, 3))),
        (np.zeros((3, 4), bool), np.zeros((3, 4))),
        (np.zeros((1, 3, 4)), np.zeros((3, 4))),
        (np.zeros((1, 3, 4), bool), np.full((3, 4), np.nan)),
        (np.zeros((1, 0, 4), bool), np.zeros((0, 4))),
    ],
)
def test_what_does_not_go_together_is_refused(masks: np.ndarray, heat: np.ndarray) -> None:
    with pytest.raises(RegionError):
        select_mask(masks, heat)

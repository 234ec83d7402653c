"""Measures of masks against the recorded ones, and by construction where masks are empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from fovea.errors import RegionError
from fovea.evaluation.masks import THRESHOLDS, Overlap, overlap, overlap_encoded, summarise_overlaps
from fovea.regions import encode_masks

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "iterprime" / "metrics.npz")


def test_recorded_measures_are_met() -> None:
    overlaps = [overlap(*pair) for pair in zip(GOLDEN["pred"], GOLDEN["target"], strict=True)]
    np.testing.assert_array_equal([one.intersection for one in overlaps], GOLDEN["intersection"])
    np.testing.assert_array_equal([one.union for one in overlaps], GOLDEN["union"])
    # Both are the same double-precision formula.
    np.testing.assert_allclose([one.iou for one in overlaps], GOLDEN["iou"], rtol=1e-12)
    found = summarise_overlaps(overlaps)
    assert found["n"] == 8
    assert found["mIoU"] == pytest.approx(float(GOLDEN["miou"]), abs=1e-12)
    assert found["oIoU"] == pytest.approx(float(GOLDEN["oiou"]), abs=1e-12)
    assert [found[f"P@{threshold}"] for threshold in THRESHOLDS] == pytest.approx(GOLDEN["precision"].tolist())


@settings(max_examples=50, deadline=None)
@given(arrays(bool, (2, 5, 6)))
def test_encoded_masks_give_the_same(masks: np.ndarray) -> None:
    assert overlap_encoded(*encode_masks(masks)) == overlap(*masks)


def test_absent_answers_count_as_empty_masks() -> None:
    target = np.eye(4, dtype=bool)
    (encoded,) = encode_masks(target[None])
    assert overlap_encoded(None, encoded) == overlap(np.zeros_like(target), target) == Overlap(0, 4)
    found = summarise_overlaps([Overlap(4, 4), Overlap(0, 4)])
    assert found["mIoU"] == pytest.approx(0.5, abs=1e-6)
    assert (found["oIoU"], found["P@0.9"]) == (0.5, 0.5)


def test_thresholds_and_no_division_by_nothing() -> None:
    # The small terms lift exactly one half over the threshold, as in the released program.
    assert [summarise_overlaps([Overlap(shared, 10)])["P@0.5"] for shared in (4, 5, 6)] == [0.0, 1.0, 1.0]
    assert summarise_overlaps([Overlap(0, 0)])["oIoU"] == 1.0
    assert summarise_overlaps([Overlap(0, 0)])["P@0.9"] == 1.0
    assert set(summarise_overlaps([]).values()) == {0}


def test_sizes_must_agree() -> None:
    with pytest.raises(RegionError):
        overlap(np.ones((2, 3), bool), np.ones((3, 2), bool))
    with pytest.raises(RegionError):
        overlap_encoded(encode_masks(np.ones((1, 2, 3), bool))[0], encode_masks(np.ones((1, 3, 2), bool))[0])

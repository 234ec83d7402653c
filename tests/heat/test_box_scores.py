"""Scores of boxes against the recorded ones, and against a sum over pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fovea.heat.box_scores import box_scores

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "iterprime" / "forward_pwem_igrs.npz")


def test_released_scores_and_choices_are_met() -> None:
    boxes, confidences = GOLDEN["groundvlp/boxes"], GOLDEN["groundvlp/det_scores"]
    for heat, expected, choice in zip(
        GOLDEN["groundvlp/heat"], GOLDEN["groundvlp/box_scores"], GOLDEN["groundvlp/choice"], strict=True
    ):
        found = box_scores(boxes, heat, confidences)
        # The recorded sums are of single precision.
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert found.argmax() == choice


def test_corners_are_cut_and_areas_are_not() -> None:
    heat = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = box_scores(np.array([[1.9, 0.5, 3.2, 2.9], [0, 0, 4, 3], [1, 1, 1, 3]]), heat)
    np.testing.assert_allclose(found, [(1 + 2 + 5 + 6) / (1.3 * 2.4) ** 0.5, 66 / 12**0.5, 0], rtol=1e-6)
    assert box_scores(np.zeros((0, 4)), heat).shape == (0,)
    np.testing.assert_allclose(box_scores(np.array([[0, 0, 4, 3]]), -heat, np.array([0.5])), [-33 / 12**0.5])

"""The pointing game on maps whose peaks are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fovea.evaluation.examples import Example, Query
from fovea.evaluation.pointing import evaluate_pointing, peak
from fovea.pictures import Picture
from fovea.regions import Regions

MASKS = np.zeros((2, 8, 10), bool)
MASKS[0, :4, :5] = True
MASKS[1, 6:, 6:] = True
QUERIES = (
    Query("top left", "name", (0,)),
    Query("bottom right", "name", (1,)),
    Query("either", "colour", (0, 1)),
    Query("nowhere", "place", (0,)),
)
PEAKS = {"top left": (0, 0), "bottom right": (0, 9), "either": (7, 9), "nowhere": (4, 0)}


def example() -> Example:
    return Example("one", np.zeros((8, 10, 3), np.uint8), Regions.from_masks(MASKS, "ground-truth"), QUERIES)


def heat_maps(picture: Picture, texts: Sequence[str]) -> list[np.ndarray]:
    assert picture.image.size == (10, 8)
    maps = []
    for text in texts:
        heat = np.full((8, 10), -2.0, np.float32)
        heat[PEAKS[text]] = -1
        maps.append(heat)
    return maps


def test_peaks_on_the_thing_count() -> None:
    found = evaluate_pointing(heat_maps, [example(), example()])
    assert found["name"] == {"n": 4, "accuracy": 0.5, "chance": pytest.approx((20 + 8) / 2 / 80)}
    assert found["colour"] == {"n": 2, "accuracy": 1.0, "chance": pytest.approx(28 / 80)}
    assert found["place"]["accuracy"] == 0


def test_only_the_wanted_kinds_are_asked() -> None:
    assert set(evaluate_pointing(heat_maps, [example()], ["colour"])) == {"colour"}
    assert evaluate_pointing(heat_maps, [example()], ["ordinal"]) == {}


def test_the_first_of_equal_peaks_counts() -> None:
    assert peak(np.array([[0.0, 1.0], [1.0, 0.0]])) == (0, 1)

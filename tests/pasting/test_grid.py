"""Where cut-outs go, against what the released program was recorded to do."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.pasting.grid import PasteSettings, fitted, free_places, lay_out, overlap

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "pin" / "paste_geometry.json").read_text()
)


def test_overlaps_are_the_recorded_ones() -> None:
    for case in RECORDED["overlap"]:
        assert overlap(tuple(case["new"]), tuple(case["existing"]), case["both"]) == pytest.approx(case["ratio"])


def test_sizes_are_the_recorded_ones() -> None:
    for case in RECORDED["sizes"]:
        assert list(fitted(case["aspect_w_over_h"], case["long_side_minus_one"])) == case["size_minus_one"]
    ranges = RECORDED["size_range_by_object_count"]
    for count, wanted in enumerate(zip(ranges["min_cells"], ranges["max_cells"], strict=True), 1):
        assert PasteSettings(RECORDED["grid_size"]).side_range(count) == wanted


def test_free_places_are_the_recorded_ones() -> None:
    for case in RECORDED["locations"]:
        settings = PasteSettings(RECORDED["grid_size"], case["overlap_limit"], case["both"])
        found = free_places(tuple(case["size_minus_one"]), [tuple(box) for box in case["existing"]], settings)
        assert [list(place) for place in found] == case["top_left"]
        assert len(found) == case["count"]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_things_stay_inside_and_apart(count: int) -> None:
    settings = PasteSettings()
    least, most = settings.side_range(count)
    rng = np.random.default_rng(count)
    crowded = 0
    for _ in range(40):
        boxes = lay_out(rng, [float(rng.uniform(0.4, 2.5)) for _ in range(count)], settings)
        assert len(boxes) == count
        for left, top, right, bottom in boxes:
            assert 0 <= left <= right < settings.cells
            assert 0 <= top <= bottom < settings.cells
            assert least <= max(right - left, bottom - top) < max(most, least + 1)
        crowded += any(
            sum(overlap(box, old, True) for old in boxes[:number]) > settings.most_overlap
            for number, box in enumerate(boxes)
        )
    # Only where no size found a place may things cover each other more.
    assert crowded <= (0 if count == 1 else 20)


def test_a_seed_gives_the_same_layout() -> None:
    first, second = (lay_out(np.random.default_rng(7), [1.0, 2.0, 0.5], PasteSettings()) for _ in range(2))
    assert first == second
    assert len({tuple(lay_out(np.random.default_rng(seed), [1.0, 2.0], PasteSettings())) for seed in range(9)}) > 6
    assert all(a != b for a, b in pairwise(first))


def test_things_keep_their_proportions_on_few_cells() -> None:
    for cells in range(2, 6):
        for count in range(1, 8):
            least, most = PasteSettings(cells=cells).side_range(count)
            assert 1 <= least < most <= max(2, cells)
    rng = np.random.default_rng(0)
    for _ in range(100):
        for left, top, right, bottom in lay_out(rng, [3.0, 3.0, 3.0], PasteSettings(cells=4)):
            assert right - left >= bottom - top

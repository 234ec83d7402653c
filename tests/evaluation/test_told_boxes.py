"""Measures of boxes that were told, against recorded figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.evaluation.told_boxes import size_class, summarise_told, told_ious
from fovea.language.box_text import GridCodec

CASES = json.loads((Path(__file__).parents[1] / "golden" / "pin" / "iou_metrics.json").read_text())


@pytest.mark.parametrize(
    ("case", "policy"), [(case, policy) for case in CASES for policy in ("zero", "first_cell") if policy in case]
)
def test_figures_are_the_recorded_ones(case: dict[str, Any], policy: Any) -> None:
    told = [None if box is None else tuple(box) for box in case["predictions"]]
    truth = [tuple(box) for box in case["ground_truth"]]
    side = case["image_size"]
    sizes = [size_class(box, side) for box in truth]
    assert sizes == case["size"]
    wanted = case[policy]
    ious = told_ious(told, truth, policy, GridCodec(case["grid_size"], side), side)
    assert ious == pytest.approx(wanted["iou"])
    found = summarise_told(list(ious), sizes)
    renamed = {"P@0.3": "P_at_0_3", "P@0.5": "P_at_0_5"}
    for key, value in found.items():
        if key != "n":
            recorded = wanted[renamed.get(key, key)]
            assert value == (None if recorded is None else pytest.approx(recorded))


def test_nothing_asked_is_no_figure() -> None:
    assert summarise_told([], [])["mIoU"] is None

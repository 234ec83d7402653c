"""Boxes as text, against what the published codec and its prompts were recorded to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.language.box_answers import read_box
from fovea.language.box_text import BLIP2, FLAMINGO, GridCodec

GOLDEN = Path(__file__).parents[1] / "golden" / "pin"
RECORDED = json.loads((GOLDEN / "grid_codec.json").read_text())
ANSWERS = json.loads((GOLDEN / "location_answers.json").read_text())


@pytest.mark.parametrize("recorded", RECORDED["codecs"], ids=lambda one: f"{one['grid_size']}-{one['range_max']}")
def test_boxes_are_written_and_read_as_recorded(recorded: dict[str, Any]) -> None:
    codec = GridCodec(recorded["grid_size"], recorded["range_max"])
    assert list(codec.labels) == recorded["labels"]
    size = (recorded["image_size"],) * 2
    for case in recorded["encode"]:
        assert codec.encode(tuple(case["cells"])) == case["text"]
        assert codec.decode(" " + case["text"], size) == (tuple(case["decode_box"]) if case["decode_valid"] else None)


@pytest.mark.parametrize("recorded", RECORDED["prompts"], ids=lambda one: f"{one['vlm']}-{one['object']}")
def test_questions_are_the_recorded_ones(recorded: dict[str, str]) -> None:
    asked = {"openflamingo": FLAMINGO, "blip2": BLIP2}[recorded["vlm"]]
    name, box = recorded["object"], recorded["coord"]
    assert asked.question(name) == recorded["prompt"] == recorded["train_prefix"]
    assert asked.answered(name, box) == recorded["train_text"]
    assert asked.answered(name, box, spaced=True) == recorded["train_text_with_name"]
    assert asked.opening(name) == recorded["train_prefix_with_name"]


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case["id"])
def test_answers_are_read_as_recorded(case: dict[str, Any]) -> None:
    size = tuple(case["image_size"])
    found = read_box(case["text"], size, case["frame"])
    assert found == (None if case["box"] is None else pytest.approx(case["box"]))
    if "strict_grid16" in case:
        strict = GridCodec().decode(case["text"], size)
        assert strict == (None if case["strict_grid16"] is None else tuple(case["strict_grid16"]))
        assert list(strict or GridCodec().first_cell(size)) == case["upstream_box"]


def test_a_box_of_cells_in_another_picture() -> None:
    codec = GridCodec(4, 100)
    assert codec.decode(" " + codec.encode((1, 1, 1, 2)), (80, 40)) == (20, 10, 40, 30)
    with pytest.raises(ValueError, match="no box of a grid"):
        codec.encode((2, 0, 1, 0))

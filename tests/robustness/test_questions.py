"""Regions and expressions that make no sense: an answer, "absent", or one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fovea.errors import FoveaError
from fovea.grounder import Grounder
from fovea.marks import parse_style
from fovea.proposers.finder import RegionFinder
from fovea.rules.relations import resolve_relations
from fovea.scorers.marked_clip import MarkedClip

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
BOXES = [[2, 2, 20, 30], [30, 5, 55, 35]]
NAN, INF = float("nan"), float("inf")


class TinyClip:
    """As large a picture as need be, and no network behind it."""

    image_size, logit_scale, key = 8, 10.0, "tiny"

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        means = pictures.reshape(len(pictures), -1, 3).mean(1) + 1
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[[len(text) % 3 for text in texts]]

    def unknown_words(self, text: str) -> list[str]:
        return []


@pytest.fixture(scope="module")
def grounder() -> Grounder:
    scorer = MarkedClip([TinyClip()], [parse_style("crop"), parse_style("C1")], "a photo of {}")  # type: ignore[list-item]
    finder = RegionFinder(lambda: pytest.fail("nothing here needs a segmenter"))
    return Grounder("test", "none", scorer, finder, relations=resolve_relations("extended", "built-in", 2))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "outside": ({"boxes": [[300, 300, 400, 400]]}, "lies outside"),
    "inverted": ({"boxes": [[20, 20, 5, 5]]}, "has no area"),
    "no area": ({"boxes": [[5, 5, 5, 30]]}, "has no area"),
    "not a number": ({"boxes": [[NAN, 1, 2, 3]]}, "not a number"),
    "endless": ({"boxes": [[0, 1, INF, 3]]}, "not a number"),
    "three columns": ({"boxes": [[1, 2, 3]]}, "the shape"),
    "words": ({"boxes": [["a", "b", "c", "d"]]}, "four numbers"),
    "an empty mask": ({"masks": np.zeros((1, 40, 60), bool)}, "mask 0 is empty"),
    "a mask of another size": ({"masks": np.ones((1, 10, 10), bool)}, "belong to a picture of"),
    "boxes and points": ({"boxes": BOXES, "points": [[1, 1]]}, "given together"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_regions_that_make_no_sense_are_one_line(grounder: Grounder, case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(FoveaError, match=message) as caught:
        grounder.find(PICTURE, "the car", **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"boxes": []}, {"masks": np.zeros((0, 40, 60), bool)}])
def test_no_regions_are_an_answer(grounder: Grounder, given: dict[str, Any]) -> None:
    answer = grounder.find(PICTURE, "the car left of the dog", **given)[0]
    assert answer.status == "absent"
    assert answer.box is None


def test_a_box_that_sticks_out_is_cut(grounder: Grounder) -> None:
    answer = grounder.find(PICTURE, "the car", boxes=[[-5, 10, 500, 30]])[0]
    assert answer.box == (0, 10, 60, 30)


def test_ten_thousand_boxes(grounder: Grounder) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, [50, 30], (10_000, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 10, (10_000, 2))])
    answer = grounder.find(PICTURE, "the red car", boxes=boxes)[0]
    assert answer.status == "found"
    assert np.isfinite(answer.score)
    assert answer.provenance.count == 10_000


@pytest.mark.parametrize("expression", ["", "   ", " . ", "\n\t", "\x00" * 10_000])
def test_an_empty_expression_is_one_line(grounder: Grounder, expression: str) -> None:
    with pytest.raises(FoveaError, match="is empty; say what to look for"):
        grounder.find(PICTURE, expression, boxes=BOXES)


@pytest.mark.parametrize(
    "expression",
    [
        "car " * 2500,
        "x" * 10_000,
        "the car left of " * 625,
        "second " * 1428,
        "the red " * 1250 + "car",
    ],
)
def test_ten_thousand_characters_are_parsed_in_time(grounder: Grounder, expression: str) -> None:
    """A CLIP refuses what it cannot read; up to there nothing may take forever or overflow."""
    assert grounder.find(PICTURE, expression, boxes=BOXES)[0].status == "found"

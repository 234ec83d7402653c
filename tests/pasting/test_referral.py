"""Phrases of place, each against what its words mean."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fovea.pasting.grid import Cells, PasteSettings, lay_out
from fovea.pasting.referral import Referral, ambiguous, phrases

CELLS = 16
NAME = "zebra"
MEANINGS = {
    "left": "left", "right": "right", "top": "top", "upper": "top", "above": "top", "bottom": "bottom",
    "lower": "bottom", "below": "bottom", "middle": "middle", "center": "middle", "front": "front", "before": "front",
    "behind": "behind", "back": "behind",
}  # fmt: skip


def said(boxes: list[Cells], seed: int, place: float = 1.0) -> list[str]:
    return list(phrases([NAME] * len(boxes), boxes, CELLS, Referral(place=place), np.random.default_rng(seed)))


def meant(phrase: str) -> set[str]:
    """The places that a phrase speaks of."""
    rest = set(re.findall(r"[a-z]+", phrase)) - {NAME, "on", "in", "at", "the"}
    assert rest <= set(MEANINGS), phrase
    return {MEANINGS[word] for word in rest}


def middle(box: Cells) -> tuple[float, float]:
    return (box[0] + box[2] + 1) / 2 / CELLS, (box[1] + box[3] + 1) / 2 / CELLS


def in_corner(box: Cells, places: set[str]) -> bool:
    x, y = middle(box)
    true = {"left": x < 1 / 3, "right": x > 2 / 3, "top": y < 1 / 3, "bottom": y > 2 / 3}
    return all(true[place] for place in places)


def in_middle(index: int, boxes: list[Cells]) -> bool:
    here, rest = middle(boxes[index]), [middle(box) for other, box in enumerate(boxes) if other != index]
    between = (min(line) < value < max(line) for value, *line in zip(here, *rest, strict=True) if len(line) == 2)
    return any(between) or all(1 / 3 <= value <= 2 / 3 for value in here)


def fits_it_alone(places: set[str], index: int, boxes: list[Cells]) -> bool:
    """Whether places are true of one thing and, in the same sense, of no other."""
    rest = [box for other, box in enumerate(boxes) if other != index]
    if not rest or len(places) == 2:
        mine = in_middle(index, boxes) if places == {"middle"} else in_corner(boxes[index], places)
        return mine and not any(in_corner(box, places) for box in rest)
    (place,) = places
    if place == "middle":
        # In the picture or between others: for the inner ones of three that is the same.
        return in_middle(index, boxes)
    if place in ("front", "behind"):
        return (index == len(boxes) - 1) == (place == "front")
    axis, sign = ("left", "right", "top", "bottom").index(place) // 2, 1 if place in ("left", "top") else -1
    return all(sign * middle(boxes[index])[axis] < sign * middle(box)[axis] for box in rest)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_phrases_are_true_of_one_thing(count: int) -> None:
    rng, bare = np.random.default_rng(count), 0
    for seed in range(80):
        boxes = lay_out(rng, [float(rng.uniform(0.5, 2)) for _ in range(count)], PasteSettings(CELLS))
        found = said(boxes, seed)
        bare += found.count(NAME)
        for index, phrase in enumerate(found):
            assert phrase == NAME or fits_it_alone(meant(phrase), index, boxes), (phrase, boxes, index)
        assert sum(meant(phrase) == {"middle"} for phrase in found) <= 1
        assert ambiguous([NAME] * count, found) == (count > 1 and NAME in found)
    assert bare < 0.1 * 80 * count


def test_a_place_in_the_picture_is_the_right_one() -> None:
    for (x, y), place in {
        (1, 1): "top left", (7, 1): "top", (13, 1): "top right", (1, 7): "left", (7, 7): "middle", (13, 7): "right",
        (1, 13): "bottom left", (7, 13): "bottom", (13, 13): "bottom right",
    }.items():  # fmt: skip
        box = (x, y, x + 1, y + 1)
        found = [meant(said([box], seed)[0]) for seed in range(40)]
        assert set.union(*found) == set(place.split())


def test_of_two_on_one_side_the_outer_one_has_it() -> None:
    boxes = [(0, 6, 1, 8), (3, 6, 4, 8)]
    outer, inner = zip(*(said(boxes, seed) for seed in range(60)), strict=True)
    assert all(meant(phrase) == {"left"} for phrase in outer)
    assert all(meant(phrase) == {"right"} for phrase in inner)


def test_what_was_pasted_later_is_in_front() -> None:
    boxes = [(4, 4, 11, 11), (5, 5, 10, 10)]
    found = [said(boxes, seed) for seed in range(20)]
    assert all(meant(first) == {"behind"} and meant(second) == {"front"} for first, second in found)


def test_names_that_are_enough_are_left_alone() -> None:
    assert said([(0, 0, 3, 3)], 0, place=0.0) == [NAME]
    two = phrases(["cat", "dog"], [(0, 0, 3, 3), (8, 8, 9, 9)], CELLS, Referral(place=0), np.random.default_rng(0))
    assert two == ("cat", "dog")


def test_all_forms_are_used() -> None:
    found = {said([(0, 6, 1, 8)], seed)[0] for seed in range(200)}
    assert found == {"left zebra", "zebra left", "zebra on left", "zebra on the left", "zebra at the left"}

"""Referring expressions against an independent reader that parses the phrase and looks at the boxes."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from fovea.scenes.expressions import KINDS, Thing, all_expressions, sample_expressions
from fovea.scenes.scene import Scene, compose

SEEDS = range(1_000_000, 1_000_150)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [compose(seed, 96) for seed in SEEDS]


def named(thing: Thing, noun: str) -> bool:
    words, wanted = thing.name.split(), noun.split()
    return noun == "object" or words[-len(wanted) :] == wanted


def middle(thing: Thing) -> np.ndarray:
    x1, y1, x2, y2 = thing.box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2])


def area(thing: Thing) -> float:
    x1, y1, x2, y2 = thing.box
    return (x2 - x1) * (y2 - y1)


AXES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}
SUPERLATIVES = {
    "leftmost": lambda t: -middle(t)[0],
    "rightmost": lambda t: middle(t)[0],
    "topmost": lambda t: -middle(t)[1],
    "highest": lambda t: -middle(t)[1],
    "bottommost": lambda t: middle(t)[1],
    "lowest": lambda t: middle(t)[1],
    "biggest": area,
    "largest": area,
    "big": area,
    "large": area,
    "smallest": lambda t: -area(t),
    "small": lambda t: -area(t),
    "little": lambda t: -area(t),
}


def only(things: list[Thing], noun: str) -> int:
    found = [i for i, thing in enumerate(things) if named(thing, noun)]
    assert len(found) == 1, noun
    return found[0]


def best(things: list[Thing], noun: str, value: object) -> int:
    candidates = [i for i, thing in enumerate(things) if named(thing, noun)]
    return max(candidates, key=lambda i: value(things[i]))  # type: ignore[operator]


def read(text: str, things: list[Thing]) -> int:
    """Which thing a phrase means, by a reader that shares no code with the writer."""
    body = text.removeprefix("the ")
    if match := re.fullmatch(r"(first|second|third|fourth) (.+) from the (left|right|top|bottom)", body):
        axis, sign = AXES[match[3]]
        order = [i for i, thing in enumerate(things) if named(thing, match[2])]
        order.sort(key=lambda i: -sign * middle(things[i])[axis])
        return order[("first", "second", "third", "fourth").index(match[1])]
    if match := re.fullmatch(r"(.+) between the (.+) and the (.+)", body):
        a, b = middle(things[only(things, match[2])]), middle(things[only(things, match[3])])
        return best(
            [
                t if named(t, match[1]) and t.name not in (match[2], match[3]) else Thing("-", None, t.box)
                for t in things
            ],
            match[1],
            lambda t: -np.linalg.norm(middle(t) - a) - np.linalg.norm(middle(t) - b) if t.name != "-" else -9.0,
        )
    if match := re.fullmatch(r"(.+) (left of|right of|above|below|next to) the (.+)", body):
        anchor = only(things, match[3])
        axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}.get(match[2], (0, 0))
        rest = [i for i, thing in enumerate(things) if i != anchor and named(thing, match[1])]
        if match[2] == "next to":
            return min(rest, key=lambda i: float(np.linalg.norm(middle(things[i]) - middle(things[anchor]))))
        fitting = [i for i in rest if sign * (middle(things[i])[axis] - middle(things[anchor])[axis]) > 0]
        assert len(fitting) == 1, text
        return fitting[0]
    if match := re.fullmatch(r"(.+) in the (top|bottom) (left|right) corner", body):
        corner = np.array([float(match[3] == "right"), float(match[2] == "bottom")])
        return best(things, match[1], lambda t: -np.abs(middle(t) - corner).max())
    if match := re.fullmatch(r"(.+) (?:on|at) the (left|right|top|bottom)", body):
        axis, sign = AXES[match[2]]
        return best(things, match[1], lambda t: sign * middle(t)[axis])
    if match := re.fullmatch(r"(.+) in the middle", body):
        return best(things, match[1], lambda t: -np.abs(middle(t) - 0.5).max())
    first, _, rest = body.partition(" ")
    if rest and first in SUPERLATIVES:
        return best(things, rest, SUPERLATIVES[first])
    coloured = [i for i, thing in enumerate(things) if rest and named(thing, rest) and thing.colour == first]
    if coloured:
        assert len(coloured) == 1, text
        return coloured[0]
    return only(things, body)


def test_every_expression_means_its_target(scenes: list[Scene]) -> None:
    count = 0
    for scene in scenes:
        for expression in all_expressions(scene.things):
            assert read(expression.text, list(scene.things)) == expression.target, (scene.seed, expression)
            count += 1
    assert count > 5000


def test_all_kinds_occur_and_at_most_one_of_each_per_thing(scenes: list[Scene]) -> None:
    seen = Counter(expression.kind for scene in scenes for expression in scene.expressions)
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 30
    for scene in scenes:
        pairs = Counter((expression.target, expression.kind) for expression in scene.expressions)
        assert max(pairs.values()) == 1


def test_sampled_expressions_are_among_all(scenes: list[Scene]) -> None:
    for scene in scenes[:20]:
        possible = set(all_expressions(scene.things))
        assert set(sample_expressions(scene.things, np.random.default_rng(0))) <= possible


def test_nothing_is_said_where_a_person_might_argue() -> None:
    left, right = (0.1, 0.4, 0.3, 0.6), (0.14, 0.7, 0.34, 0.9)
    things = [Thing("car", "red", left), Thing("car", "orange", right)]
    texts = {expression.text for expression in all_expressions(things)}
    # Red and orange are neighbours, and the two stand almost one above the other.
    assert not {"the red car", "the orange car", "the leftmost car", "the car", "the first car from the left"} & texts
    assert {"the topmost car", "the second car from the top"} <= texts


def test_names_that_end_in_another_name_are_shared() -> None:
    things = [Thing("tree", None, (0, 0, 0.2, 0.2)), Thing("palm tree", None, (0.5, 0.5, 0.9, 0.9))]
    texts = {expression.text for expression in all_expressions(things)}
    assert "the tree" not in texts
    assert "the palm tree" in texts

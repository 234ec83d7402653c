"""The default dialect: against enumeration, and on layouts whose answer anybody can see."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fovea.answers import ScoreMatrix
from fovea.language.parsers import resolve_parser
from fovea.regions import Regions
from fovea.rules.graded import Layout, ranked
from fovea.rules.relations import ExtendedRelations, apply_relations, texts_of

SIZE = (100, 100)
# Three stars from left to right, the middle one large and high; a cat at the bottom left; a dog in the middle.
NAMES = ("star", "star", "star", "cat", "dog")
BOXES = np.array([[5, 40, 15, 50], [38, 5, 58, 25], [80, 60, 90, 70], [10, 80, 22, 92], [46, 46, 56, 56]], np.float32)
RELATIONS = ExtendedRelations(resolve_parser())


def logits(text: str) -> np.ndarray:
    return np.array([12.0 if name in text else 0.0 for name in NAMES])


def best(expression: str) -> int:
    return int(RELATIONS.share(expression, BOXES, SIZE, logits).argmax())


@pytest.mark.parametrize(
    ("expression", "region"),
    [
        ("the cat", 3),
        ("the leftmost star", 0),
        ("the star on the right", 2),
        ("the star at the top", 1),
        ("the left star", 0),
        ("second star from the left", 1),
        ("the third star from the left", 2),
        ("the first star from the right", 2),
        ("the last star", 2),
        ("2nd star from the bottom", 0),
        ("the biggest star", 1),
        ("the big star", 1),
        ("the highest star", 1),
        ("the cat below the dog", 3),
        ("the star next to the dog", 1),
        ("the star left of the dog", 0),
        ("the star to the right of the dog", 2),
        ("the star on the right of the dog", 2),
        ("the object between the cat and the second star from the left", 0),
        ("the object between the leftmost star and the rightmost star", 4),
        ("the object in the bottom left corner", 3),
        ("the thing in the middle", 4),
        ("the object below the leftmost star", 3),
        ("bottom left", 3),
        ("the star bigger than the dog", 1),
    ],
)
def test_what_is_meant_is_found(expression: str, region: int) -> None:
    assert best(expression) == region


def test_without_places_the_expression_stays_whole() -> None:
    assert texts_of(RELATIONS, "the cat with a hat") == ["the cat with a hat"]
    shares = RELATIONS.share("the cat with a hat", BOXES, SIZE, logits)
    expected = np.exp(logits("cat")) / np.exp(logits("cat")).sum()
    np.testing.assert_allclose(shares, expected)


def test_only_looks_are_asked_for() -> None:
    assert texts_of(RELATIONS, "the second star from the left above the big cat") == ["the star", "the cat"]
    assert texts_of(RELATIONS, "the leftmost object") == []


def test_ranks_are_those_of_all_possible_worlds() -> None:
    rng = np.random.default_rng(0)
    members, ahead = rng.random(5), rng.random((5, 5))
    for rank in (1, 2, 3):
        slow = np.zeros(5)
        for i in range(5):
            others = [j for j in range(5) if j != i]
            for world in product((0, 1), repeat=4):
                chance = np.prod(
                    [
                        members[j] * ahead[i, j] if before else 1 - members[j] * ahead[i, j]
                        for j, before in zip(others, world, strict=True)
                    ]
                )
                if sum(world) == rank - 1:
                    slow[i] += members[i] * chance
        np.testing.assert_allclose(ranked(members, ahead, rank), slow, atol=1e-12)


def test_orders_are_opposite() -> None:
    layout = Layout(BOXES, SIZE)
    for one, other in (("left", "right"), ("top", "bottom"), ("bigger", "smaller")):
        np.testing.assert_allclose(layout.beyond(one), layout.beyond(other).T)
    assert (np.diag(layout.related("near")) == 0).all()


def test_the_order_of_regions_does_not_matter() -> None:
    order = np.array([4, 2, 0, 1, 3])
    for expression in (
        "second star from the left",
        "the star next to the dog",
        "the object between the cat and the dog",
    ):
        straight = RELATIONS.share(expression, BOXES, SIZE, logits)
        shuffled = RELATIONS.share(expression, BOXES[order], SIZE, lambda text: logits(text)[order])
        np.testing.assert_allclose(shuffled, straight[order], atol=1e-12)


def test_rules_on_a_matrix() -> None:
    expressions = ["The leftmost star.", "the cat"]
    texts = [*dict.fromkeys(["the leftmost star", "the cat", *texts_of(RELATIONS, "the leftmost star")])]
    regions = Regions.from_boxes(BOXES, SIZE)
    matrix = ScoreMatrix(np.stack([logits(text) for text in texts], axis=1), regions, tuple(texts))
    ruled = apply_relations(matrix, expressions, RELATIONS)
    assert ruled.texts == tuple(expressions)
    assert ruled.over_regions().argmax(axis=0).tolist() == [0, 3]
    np.testing.assert_allclose(ruled.over_regions().sum(axis=0), 1, atol=1e-6)


def test_no_regions_give_no_shares() -> None:
    assert RELATIONS.share("the leftmost star", np.zeros((0, 4)), SIZE, lambda _: np.zeros(0)).shape == (0,)

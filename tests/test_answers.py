"""Reading the matrix: columns, rows and absence."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.answers import (
    Provenance,
    ScoreMatrix,
    best_regions,
    known_assignment,
    matched_regions,
    read_columns,
    read_rows,
)
from fovea.errors import ExpressionError
from fovea.regions import Regions

GOLDEN = Path(__file__).parent / "golden" / "fgvp"

PROVENANCE = Provenance("r", "m", "given", 2)


def matrix(values: list[list[float]]) -> ScoreMatrix:
    array = np.array(values, np.float32).reshape(len(values), -1)
    boxes = [[i, 0, i + 1, 5] for i in range(len(values))]
    texts = tuple(f"text {i}" for i in range(array.shape[1]))
    return ScoreMatrix(array, Regions.from_boxes(boxes, (20, 10)), texts)


def test_columns_find_and_rows_name() -> None:
    table = matrix([[2.0, 1.0], [0.0, 5.0]])
    answers = read_columns(table, PROVENANCE, seconds=0.5)
    assert [answer.region for answer in answers] == [0, 1]
    assert answers[0].box == (0.0, 0.0, 1.0, 5.0)
    assert answers[1].score == pytest.approx(1 / (1 + np.exp(-4)))
    labels = read_rows(table, PROVENANCE, top=1)
    assert [result.labels[0][0] for result in labels] == ["text 0", "text 1"]


def test_json_has_exactly_the_stable_keys() -> None:
    found = read_columns(matrix([[1.0], [0.0]]), PROVENANCE, seconds=0.1)[0].to_json()
    assert list(found) == ["expression", "status", "box", "mask", "score", "seconds"]
    assert (found["status"], found["mask"]) == ("found", None)


def test_nothing_proposed_is_absent() -> None:
    empty = ScoreMatrix(np.zeros((0, 2), np.float32), Regions.empty((5, 5)), ("a", "b"))
    for answer in read_columns(empty, PROVENANCE, seconds=0.0):
        assert (answer.status, answer.box, answer.mask, answer.region, answer.score) == (
            "absent",
            None,
            None,
            None,
            0.0,
        )
    assert read_rows(empty, PROVENANCE) == []
    assert empty.over_regions().shape == (0, 2)


def test_logits_that_are_not_finite_count_for_nothing() -> None:
    nan, inf = float("nan"), float("inf")
    table = matrix([[nan, nan, 0.0], [-inf, 1.0, inf], [nan, 1.0, -3.0]])
    absent, second, third = read_columns(table, PROVENANCE, seconds=0)
    assert (absent.status, absent.score, absent.box) == ("absent", 0.0, None)
    assert (second.region, second.score) == (1, 0.5)
    assert (third.region, third.score) == (0, pytest.approx(1 / (1 + np.exp(-3))))
    documents = [part.to_json() for part in (absent, second, third, *read_rows(table, PROVENANCE))]
    json.dumps(documents, allow_nan=False)


def test_a_low_share_is_absent_on_request() -> None:
    table = matrix([[0.0], [0.1]])
    assert read_columns(table, PROVENANCE, seconds=0, min_score=0.6)[0].status == "absent"
    assert read_columns(table, PROVENANCE, seconds=0, min_score=0.5)[0].status == "found"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-300, 300), min_size=3, max_size=3), min_size=1, max_size=6), st.permutations(range(3))
)
def test_permuting_texts_permutes_answers_only(values: list[list[float]], order: list[int]) -> None:
    table = matrix(values)
    shuffled = ScoreMatrix(table.values[:, order], table.regions, tuple(table.texts[i] for i in order))
    answers = {a.expression: (a.region, a.score) for a in read_columns(table, PROVENANCE, seconds=0)}
    assert answers == {a.expression: (a.region, a.score) for a in read_columns(shuffled, PROVENANCE, seconds=0)}
    np.testing.assert_allclose(table.over_regions().sum(0), 1)
    np.testing.assert_allclose(table.over_texts().sum(1), 1)


def test_one_to_one_is_the_released_assignment() -> None:
    """Recorded from the released script: mean cosines of two prompts, nine regions and five texts."""
    with np.load(GOLDEN / "scores.npz") as recorded:
        similarity, rows, columns = (recorded[f"match_{name}"] for name in ("sim", "rows", "cols"))
        argmax = recorded["match_argmax_per_text"]
    # As a scorer states them: logits summed over the prompts, with a temperature.
    logits = 100 * similarity.sum(axis=0)
    expected = np.full(5, -1)
    expected[columns] = rows
    np.testing.assert_array_equal(matched_regions(logits, temperature=200), expected)
    np.testing.assert_array_equal(best_regions(logits), argmax)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 3), (3, 5), (6, 4), (0, 2), (2, 0)])
def test_one_to_one_is_the_best_of_all_permutations(shape: tuple[int, int]) -> None:
    regions, texts = shape
    for seed in range(10):
        cosines = np.random.default_rng(seed).uniform(-1, 1, shape)
        found = matched_regions(50 * cosines, temperature=50)
        # Slow and obvious: every way to give some texts a region of their own.
        if regions >= texts:
            ways = [dict(enumerate(rows)) for rows in permutations(range(regions), texts)]
        else:
            ways = [{text: row for row, text in enumerate(chosen)} for chosen in permutations(range(texts), regions)]
        costs = [sum(np.exp(-cosines[row, text]) for text, row in way.items()) for way in ways]
        best = ways[int(np.argmin(costs))]
        assert found.tolist() == [best.get(text, -1) for text in range(texts)]


def test_one_to_one_gives_no_region_twice_and_nothing_impossible() -> None:
    nan, low = float("nan"), float("-inf")
    table = matrix([[5.0, 4.9, nan], [0.0, 0.0, nan], [low, 3.0, low]])
    first, second, third = read_columns(table, PROVENANCE, seconds=0, assignment="one-to-one")
    assert [answer.region for answer in (first, second)] == [0, 2]
    assert (third.status, third.box) == ("absent", None)
    assert second.score < 0.2
    assert [answer.region for answer in read_columns(table, PROVENANCE, seconds=0)] == [0, 0, None]
    # Far below any cosine, as the logarithms of shares are.
    assert matched_regions(np.array([[-700.0, -900.0], [-600.0, -1000.0]])).tolist() != [-1, -1]
    with pytest.raises(ExpressionError, match="known are argmax and one-to-one"):
        known_assignment("both")
    assert known_assignment("argmax") == "argmax"

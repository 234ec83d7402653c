"""GRIT's records: characters of a caption, shares of a picture, and what makes no sense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fovea.datasets.grit import Phrase, read_grounding
from fovea.errors import DataError

CAPTION = "a red car and a dog"


def record(*rows: Any, caption: Any = CAPTION) -> bytes:
    return json.dumps({"id": "1", "caption": caption, "ref_exps": list(rows)}).encode()


def test_phrases_are_slices_and_pixels_are_cut_off() -> None:
    found = read_grounding(record([0.0, 9.0, 0.1, 0.199, 0.5, 0.999, 0.8], [14, 19, -0.1, 0, 1.2, 1, 2]), (100, 50))
    assert found.caption == CAPTION
    assert found.problems == ()
    assert found.phrases == (
        Phrase("a red car", (10.0, 9.0, 50.0, 49.0), 0.8),
        Phrase("a dog", (0.0, 0.0, 100.0, 50.0), 1.0),
    )


@pytest.mark.parametrize(
    "row",
    [
        [0, 9, 0.5, 0.1, 0.5, 0.9, 1],
        [0, 9, 0.501, 0.1, 0.502, 0.9, 1],
        [0, 9, 0.9, 0.1, 0.2, 0.9, 1],
        [0, 9, 1.1, 0.1, 1.2, 0.9, 1],
        [0, 9, float("nan"), 0.1, 0.5, 0.9, 1],
        [0, 9, 0.1, 0.1, 0.5, float("inf"), 1],
        [5, 5, 0.1, 0.1, 0.5, 0.9, 1],
        [-3, 5, 0.1, 0.1, 0.5, 0.9, 1],
        [9, 10, 0.1, 0.1, 0.5, 0.9, 1],
        [0, 99, 0.1, 0.1, 0.5, 0.9, 1],
        [0, 9, 0.1, 0.1, 0.5, 0.9],
        ["a", 9, 0.1, 0.1, 0.5, 0.9, 1],
        None,
        {},
    ],
)
def test_a_row_that_makes_no_sense_is_reported_and_left_out(row: Any) -> None:
    found = read_grounding(record(row, [14, 19, 0, 0, 1, 1, 1]), (100, 50))
    assert [phrase.text for phrase in found.phrases] == ["a dog"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("phrase 0: ")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"caption": "a"}', b"[" * 100_000, record(caption=7), b"\xff"])
def test_another_form_is_one_error(data: bytes) -> None:
    with pytest.raises(DataError, match="no grounding record"):
        read_grounding(data, (10, 10))


def test_endless_lists_are_cut() -> None:
    found = read_grounding(record(*[[14, 19, 0, 0, 1, 1, 1]] * 1200), (10, 10))
    assert len(found.phrases) == 1000
    assert found.problems == ("only the first 1000 of 1200 phrases are read",)

"""Subsets: both readings of position, and names outside of COCO."""

from __future__ import annotations

import pytest

from fovea.datasets.subsets import COCO_NAMES, POSITION_TESTS, is_unseen


@pytest.mark.parametrize(
    ("text", "by_words", "released"),
    [
        ("guy on the LEFT", True, True),
        ("left-most cup", True, True),
        ("a cup in bright light", False, True),
        ("the group", False, True),
        ("sitting down", False, True),
        ("leftmost zebra", True, True),
        ("middle sandwich", True, False),
        ("upper donut", True, True),  # "upper" holds "up"
        ("lower donut", True, False),
        ("man behind the car", False, False),
        ("red shirt", False, False),
        ("", False, False),
    ],
)
def test_expressions_of_position(text: str, by_words: bool, released: bool) -> None:
    assert POSITION_TESTS["words"](text) is by_words
    assert POSITION_TESTS["released"](text) is released


def test_unseen_names_are_told_by_string() -> None:
    assert len(COCO_NAMES) == 80
    assert not is_unseen("person")
    assert not is_unseen("traffic light")
    assert all(map(is_unseen, ("man", "Person", "people", "cars", "")))

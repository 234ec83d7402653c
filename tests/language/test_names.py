"""Names of categories, as data sets write them."""

from __future__ import annotations

import pytest

from fovea.errors import ExpressionError
from fovea.language.names import part_phrase, readable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bucket", "bucket"),
        ("mouse_(computer_equipment)", "mouse"),
        ("tape_(sticky_cloth_or_paper)", "tape"),
        ("cellular_telephone", "cellular telephone"),
        ("Traffic Light", "traffic light"),
        ("crab_(animal)_", "crab"),
        ("(odd)_name", "(odd) name"),
        ("monitor_(computer_equipment) computer_monitor", "monitor computer monitor"),
    ],
)
def test_names_are_made_readable(name: str, words: str) -> None:
    assert readable(name) == words


@pytest.mark.parametrize("name", ["", "__", "_(animal)"])
def test_what_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(ExpressionError, match="is no name of a category"):
        readable(name)


def test_a_part_is_of_something() -> None:
    assert part_phrase("left_button", "mouse_(computer_equipment)") == "the left button of mouse"

"""Answers are read strictly, as taught, or leniently, in any form."""

from __future__ import annotations

import pytest

from fovea.errors import ExpressionError
from fovea.language.box_text import GridCodec
from fovea.tellers.reading import box_of, known_reading

SMALL = GridCodec(cells=4, frame=4)


@pytest.mark.parametrize(
    ("answer", "strict", "lenient"),
    [
        (" [0,1,2,4].", (0, 25, 50, 100), (0, 25, 50, 100)),
        (" [0, 1, 2, 4]", None, (0, 25, 50, 100)),
        ("(3,3) (1,1)", None, (25, 25, 75, 75)),
        (" [0,1,2.5,4]", None, (0, 25, 62.5, 100)),
        (" [1,1,1,4]", None, None),
        (" on the mat", None, None),
        ("", None, None),
    ],
)
def test_both_readings(answer: str, strict: object, lenient: object) -> None:
    assert box_of(answer, SMALL, (100, 100), "strict") == strict
    assert box_of(answer, SMALL, (100, 100), "lenient") == lenient


def test_readings_have_names() -> None:
    assert known_reading("lenient") == "lenient"
    with pytest.raises(ExpressionError, match="known are strict and lenient"):
        known_reading("loose")

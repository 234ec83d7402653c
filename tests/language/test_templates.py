"""Expressions and labels on their way to a model."""

from __future__ import annotations

import pytest

from fovea.errors import ExpressionError
from fovea.language.templates import checked_template, clean, fill, with_article


def test_expressions_are_cleaned() -> None:
    assert clean("  The RED\n car. ") == "the red car"
    assert clean("the \ud800 car") == "the car"
    assert fill("a photo of {}", "Cats {}!") == "a photo of cats {}"
    assert with_article("car") == "the car"
    assert with_article("A car") == "a car"


@pytest.mark.parametrize("text", ["", "  ", "...", ",,,", "\ud800"])
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="is empty"):
        clean(text)


@pytest.mark.parametrize("template", ["", "a photo", "{} and {}", "{0}"])
def test_a_template_has_one_place(template: str) -> None:
    assert checked_template("the {} there") == "the {} there"
    with pytest.raises(ExpressionError, match=r"put \{\} in its place"):
        checked_template(template)

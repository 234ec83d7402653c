"""Templates that turn an expression or a label into the sentence that a model reads."""

from __future__ import annotations

from fovea.errors import ExpressionError

_ARTICLES = ("the", "a", "an")


def clean(text: str) -> str:
    """An expression in one line, lower case, without a full stop.

    Raises:
        ExpressionError: nothing is left.
    """
    # What is no valid Unicode, such as half a surrogate pair, reaches no tokenizer.
    valid = text.encode("utf-8", "ignore").decode("utf-8")
    cleaned = " ".join(valid.split()).strip(" .!?").lower()
    if not any(character.isalnum() for character in cleaned):
        raise ExpressionError(f"the expression {text[:80]!r} is empty", "say what to look for")
    return cleaned


def fill(template: str, text: str) -> str:
    """Put an expression into a template, once: braces in the expression stay as they are."""
    return template.replace("{}", clean(text))


def checked_template(template: str) -> str:
    """A template as it is.

    Raises:
        ExpressionError: it has no place for the expression, or several.
    """
    if template.count("{}") != 1:
        raise ExpressionError(
            f"the template {template!r} does not say once where the expression goes",
            "put {} in its place, as in: a photo of {}",
        )
    return template


def without_article(text: str) -> str:
    """An expression, cleaned, without an article in front: "The car." becomes "car"."""
    cleaned = clean(text)
    first, _, rest = cleaned.partition(" ")
    return rest if first in _ARTICLES and rest else cleaned


def with_article(label: str) -> str:
    """A bare label as a phrase: "car" becomes "the car"; what already has an article stays."""
    cleaned = clean(label)
    return cleaned if cleaned.split()[0] in _ARTICLES else f"the {cleaned}"

"""Names of categories as data sets write them, made readable: ``mouse_(computer_equipment)`` is a mouse."""

from __future__ import annotations

import re

from fovea.errors import ExpressionError

# What tells one sense of a name from others, behind a word or at the end.
_SENSE = re.compile(r"(?<=[^_ ])[_ ]*\([^()]*\)(?=[_ ])|[_ ]*\([^()]*\)[_ ]*$")


def readable(name: str) -> str:
    """A name in lower case, with spaces, without the remark in parentheses that tells its sense.

    Raises:
        ExpressionError: nothing is left.
    """
    words = " ".join(_SENSE.sub("", name).replace("_", " ").split()).lower()
    if not words:
        raise ExpressionError(f"{name!r} is no name of a category", "give each category a name")
    return words


def part_phrase(part: str, whole: str) -> str:
    """What FGVP says of a part: "The <part> of <object>" (papers/fgvp.txt), in lower case as all expressions are."""
    return f"the {readable(part)} of {readable(whole)}"

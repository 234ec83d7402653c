"""From an answer to a box, strictly or leniently (specs/pin.md, 3)."""

from __future__ import annotations

from typing import Literal, get_args

from fovea.choices import chosen
from fovea.errors import ExpressionError
from fovea.language.box_answers import read_box
from fovea.language.box_text import Box, GridCodec

#: ``strict`` reads labels of the grid exactly as they are taught, as published; ``lenient`` any box in any form.
Reading = Literal["strict", "lenient"]


def known_reading(name: str) -> Reading:
    """A reading by name.

    Raises:
        ExpressionError: there is no such reading.
    """
    known: tuple[Reading, ...] = get_args(Reading)
    error = ExpressionError(f"there is no reading called {name!r}", f"known are {' and '.join(known)}")
    return chosen(name, known, error)


def box_of(answer: str, codec: GridCodec, size: tuple[int, int], reading: Reading) -> Box | None:
    """The box that an answer says.

    Args:
        answer: what stands behind the question.
        codec: how boxes are written.
        size: width and height of the picture that the box is for.
        reading: how strictly.

    Returns:
        xyxy pixels of that picture; None where the answer cannot be read.
    """
    if reading == "strict":
        return codec.decode(answer, size)
    return read_box(answer, size, codec.frame)

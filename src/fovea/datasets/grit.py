"""GRIT's grounding records: captions whose phrases have boxes (specs/alphaclip.md, 8)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from fovea.errors import DataError

# More phrases than any caption has.
_MOST = 1000


@dataclass(frozen=True)
class Phrase:
    """Some words of a caption and where in the picture it is.

    Attributes:
        text: the words.
        box: xyxy pixels of the upright picture, inside of it and with an area.
        score: how sure the source was, 0..1.
    """

    text: str
    box: tuple[float, float, float, float]
    score: float = 1.0


@dataclass(frozen=True)
class Grounding:
    """What is known about a picture: its caption, phrases, and a line for everything that had to be left out."""

    caption: str
    phrases: tuple[Phrase, ...]
    problems: tuple[str, ...] = ()


def read_grounding(data: bytes, size: tuple[int, int]) -> Grounding:
    """Read the JSON of a record: ``caption``, and ``ref_exps`` = [start, end, x1, y1, x2, y2, score] for each phrase.

    Start and end count characters of the caption, end exclusive; coordinates are shares of the picture's sides. Pixels
    are cut off, not rounded, as in the released program.

    Args:
        data: the file.
        size: width and height of the upright picture.

    Returns:
        The phrases that make sense, in their order.

    Raises:
        DataError: the file is of another form.
    """
    try:
        record = json.loads(data)
        caption, rows = record["caption"], record["ref_exps"]
        if not isinstance(caption, str) or not isinstance(rows, list):
            raise TypeError("caption or ref_exps are of another type")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"this is no grounding record: {error!r}"[:200], 'it needs "caption" and "ref_exps", as GRIT has them'
        ) from error
    phrases, problems = list[Phrase](), list[str]()
    for number, row in enumerate(rows[:_MOST]):
        try:
            phrases.append(_phrase(row, caption, size))
        except (TypeError, ValueError, OverflowError) as error:
            problems.append(f"phrase {number}: {error}"[:200])
    if len(rows) > _MOST:
        problems.append(f"only the first {_MOST} of {len(rows)} phrases are read")
    return Grounding(caption, tuple(phrases), tuple(problems))


def _phrase(row: Any, caption: str, size: tuple[int, int]) -> Phrase:
    try:
        start, end, x1, y1, x2, y2, score = map(float, row)
    except (TypeError, ValueError) as error:
        raise ValueError("it is no row of seven numbers") from error
    if not all(map(math.isfinite, (start, end, x1, y1, x2, y2, score))):
        raise ValueError("it holds a value that is not a number")
    text = " ".join(caption[int(start) : int(end)].split()) if 0 <= start < end <= len(caption) else ""
    if not text:
        raise ValueError(f"no words stand at {start:g} to {end:g} of the caption")
    width, height = size
    edges = zip((x1, y1, x2, y2), (width, height, width, height), strict=True)
    left, top, right, bottom = (float(int(min(max(share, 0.0), 1.0) * side)) for share, side in edges)
    if right <= left or bottom <= top:
        raise ValueError(f"its box {[x1, y1, x2, y2]} has no area")
    return Phrase(text, (left, top, right, bottom), min(max(score, 0.0), 1.0))

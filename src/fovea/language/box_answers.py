"""Boxes in whatever a captioner writes: brackets of any kind, pairs of corners, labelled or bare numbers.

What cannot be read is no answer, and never a box. specs/pin.md, 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fovea.language.box_text import Box

_ENDS = ("<|endofchunk|>", "</s>")

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:\s*px)?"
_BETWEEN = r"(?:\s*[,;]\s*|\s+)"
_OPEN, _CLOSE = r"[\[({]\s*", r"\s*[\])}]"
# Not inside of a longer number or word.
_ALONE, _ENDED = r"(?<![\w.])", r"(?![\w]|\.\d)"


def _numbers(count: int) -> str:
    return _BETWEEN.join([rf"({_NUMBER})"] * count)


_GROUP = re.compile(rf"{_OPEN}{_numbers(4)}{_CLOSE}")
_PAIRS = re.compile(rf"{_OPEN}{_numbers(2)}{_CLOSE}\s*(?:,|to|-)?\s*{_OPEN}{_numbers(2)}{_CLOSE}")
_BRACKETS = re.compile(r"[\[({][^\[\](){}]*(?:[\])}]|$)")
_RUN = re.compile(rf"{_ALONE}{_NUMBER}(?:\s*,\s*{_NUMBER})*{_ENDED}")

_LABELS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_LABELLED = {
    names: re.compile(rf"(?<!\w)[\"']?({'|'.join(names)})[\"']?\s*[=:]\s*({_NUMBER}){_ENDED}") for names in _LABELS
}


def read_box(text: str, size: tuple[int, int], frame: float = 224) -> Box | None:
    """Read the first box of an answer.

    Args:
        text: behind the question; what stands behind its end does not count.
        size: width and height of the picture.
        frame: what the numbers run to.

    Returns:
        xyxy pixels of the picture, corners in order and within it; None where there is no box, or none with an area.
    """
    for end in _ENDS:
        text = text.partition(end)[0]
    found = min(_candidates(text), default=None)
    if found is None:
        return None
    x1, y1, x2, y2 = (min(max(value, 0.0), frame) / frame for value in found[1])
    (left, right), (top, bottom) = sorted((x1, x2)), sorted((y1, y2))
    if left == right or top == bottom:
        return None
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def _candidates(text: str) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Where boxes begin, and their numbers."""
    for pattern in (_GROUP, _PAIRS):
        for match in pattern.finditer(text):
            yield match.start(), tuple(map(_value, match.groups()))
    for names, pattern in _LABELLED.items():
        matches = list(pattern.finditer(text))
        values = {match[1]: _value(match[2]) for match in reversed(matches)}
        if len(values) == len(names):
            yield matches[0].start(), tuple(values[name] for name in names)
    # Runs count outside of brackets only: blanks keep the places of all else.
    bare = _BRACKETS.sub(lambda match: " " * len(match[0]), text)
    for match in _RUN.finditer(bare):
        numbers = re.findall(_NUMBER, match[0])
        if len(numbers) == 4:
            yield match.start(), tuple(map(_value, numbers))


def _value(text: str) -> float:
    return float(text.removesuffix("px"))

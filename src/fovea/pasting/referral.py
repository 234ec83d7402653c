"""Telling pasted things of one category apart by their places: "left dog", "dog on the left", "dog in front".

PIN reports that pasting duplicates and saying where they are doubles what it finds on RefCOCO. The words and forms are
those of its released program; how often each is used is not known (specs/pin.md, 6), and its absolute places, which
always say "left", are set right here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fovea.pasting.grid import Cells, overlap

_SIDES = ("{P} {name}", "{name} {P}", "{name} on {P}", "{name} on the {P}", "{name} at the {P}")


def _sides(*words: str) -> tuple[str, ...]:
    return tuple(form.replace("{P}", word) for word in words for form in _SIDES)


# What is said of each place.
_FORMS: Mapping[str, tuple[str, ...]] = {
    "left": _sides("left"),
    "right": _sides("right"),
    "top": (*_sides("top"), "upper {name}", "{name} above"),
    "bottom": (*_sides("bottom"), "lower {name}", "{name} below"),
    "middle": tuple(
        form.replace("{P}", word)
        for word in ("middle", "center")
        for form in ("{P} {name}", "{name} {P}", "{name} in {P}", "{name} in the {P}", "{name} at the {P}")
    ),
    "top left": _sides("top left", "upper left"),
    "top right": _sides("top right", "upper right"),
    "bottom left": _sides("bottom left", "lower left"),
    "bottom right": _sides("bottom right", "lower right"),
    "front": ("front {name}", "{name} in front", "{name} at the front", "{name} before"),
    "behind": ("{name} behind", "back {name}", "{name} at the back"),
}

# Shares of the side: what lies closer together is in one place for the eye ...
_APART = 0.1
# ... and what lies between these is neither left nor right.
_THIRDS = (1 / 3, 2 / 3)


@dataclass(frozen=True)
class Referral:
    """How often places are said; probabilities 0..1.

    Attributes:
        repeat: that a thing is of the category of one that is there already.
        place: that a thing whose name says which one is meant has its place said all the same.
    """

    repeat: float = 0.5
    place: float = 0.25


def phrases(
    names: Sequence[str], boxes: Sequence[Cells], cells: int, referral: Referral, rng: np.random.Generator
) -> tuple[str, ...]:
    """What each thing is asked for by; a phrase with a place is true for no other thing of that name.

    Args:
        names: of the things' categories, in the order in which they were pasted.
        boxes: on the grid.
        cells: per side of the grid.
        referral: how often.
        rng: what is drawn from.

    Returns:
        Phrases; the bare name where it is enough, and where no place tells things apart.
    """
    said = []
    for index, name in enumerate(names):
        peers = [other for other, one in enumerate(names) if one == name]
        places = list(_places(index, peers, boxes, cells))
        if places and (len(peers) > 1 or rng.random() < referral.place):
            forms = _FORMS[places[rng.integers(len(places))]]
            said.append(forms[rng.integers(len(forms))].format(name=name))
        else:
            said.append(name)
    return tuple(said)


def ambiguous(names: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether a bare name stands for one of several things of that name."""
    return any(phrase == name and names.count(name) > 1 for name, phrase in zip(names, asked, strict=True))


def _places(index: int, peers: Sequence[int], boxes: Sequence[Cells], cells: int) -> Iterator[str]:
    """Every place that is true for one of the things of its name, and false for the others."""
    centres = {peer: _centre(boxes[peer], cells) for peer in peers}
    held = {peer: {*absolute_places(*centre)} for peer, centre in centres.items()}
    for peer in peers:
        held[peer] |= {"middle"} & set(_relative(peer, centres))
    others = set[str]().union(*(places for peer, places in held.items() if peer != index))
    # Of two things on the left, the one farther left is the left one.
    outer = set(_relative(index, centres)) - {"middle"}
    yield from (place for place in _FORMS if place in outer or place in held[index] - others)
    if len(peers) == 2 and overlap(boxes[peers[0]], boxes[peers[1]], True):
        # What was pasted later covers what was there.
        yield "front" if index == max(peers) else "behind"


def _centre(box: Cells, cells: int) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right + 1) / 2 / cells, (top + bottom + 1) / 2 / cells


def absolute_places(x: float, y: float) -> tuple[str, ...]:
    """In which parts of the picture a point lies; ``x`` and ``y`` in 0..1, from the upper left corner."""
    low, high = _THIRDS
    across = "left" if x < low else "right" if x > high else ""
    down = "top" if y < low else "bottom" if y > high else ""
    if across and down:
        return across, down, f"{down} {across}"
    return (across or down or "middle",)


def _relative(index: int, centres: Mapping[int, tuple[float, float]]) -> Iterator[str]:
    """Where a thing stands among others: clearly first or last on an axis, or between two others."""
    for axis, (low, high) in enumerate((("left", "right"), ("top", "bottom"))):
        mine = centres[index][axis]
        rest = [centre[axis] for other, centre in centres.items() if other != index]
        if rest and mine <= min(rest) - _APART:
            yield low
        if rest and mine >= max(rest) + _APART:
            yield high
        if len(rest) == 2 and min(rest) + _APART <= mine <= max(rest) - _APART:
            yield "middle"

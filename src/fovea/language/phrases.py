"""What an expression says of the thing it means: what it looks like, where it is, and what it stands next to.

The extended reading of a parse, beside ReCLIP's (:mod:`fovea.language.entities`): it knows places ("in the top left
corner"), ordinals ("second from the left"), sizes as adjectives ("the big car"), nearness and "between", and it keeps
words of place out of what a model is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from fovea.language.parses import Parse
from fovea.language.tagger import DETERMINERS, ORDINALS

Side = Literal["left", "right", "top", "bottom"]
RelationName = Literal[
    "left", "right", "above", "below", "behind", "front", "near", "between", "inside", "bigger", "smaller"
]


@dataclass(frozen=True)
class Place:
    """In a part of the picture: the sides that it names, or its middle where it names none."""

    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Extreme:
    """The most of its kind: leftmost, or biggest. ``along`` is a side, ``bigger`` or ``smaller``."""

    along: Literal["left", "right", "top", "bottom", "bigger", "smaller"]


@dataclass(frozen=True)
class Ordinal:
    """The ``rank``-th of its kind, counted from 1 at a side; -1 is the last."""

    rank: int
    side: Side


@dataclass(frozen=True)
class Related:
    """In a relation to one other thing, or to two where it stands between them."""

    relation: RelationName
    others: tuple[Phrase, ...]


Condition = Place | Extreme | Ordinal | Related


@dataclass(frozen=True)
class Phrase:
    """A thing as it is described.

    Attributes:
        text: how it looks, to ask a model; empty where any thing will do.
        conditions: what else must hold.
    """

    text: str
    conditions: tuple[Condition, ...] = ()


_SIDES: dict[str, Side] = {
    word: side  # type: ignore[misc]
    for side, words in {
        "left": "left western west",
        "right": "right eastern east",
        # What is farther away stands higher in most pictures.
        "top": "top upper northern north back background",
        "bottom": "bottom lower southern south front foreground",
    }.items()
    for word in words.split()
}
_MIDDLE = frozenset({"middle", "center", "centre", "central"})
_EXTREMES = {
    word: along
    for along, words in {
        "left": "leftmost",
        "right": "rightmost",
        "top": "topmost uppermost highest",
        "bottom": "bottommost lowermost lowest",
        "bigger": "biggest largest tallest closest nearest big large huge giant tall bigger larger",
        "smaller": "smallest tiniest shortest farthest furthest small little tiny short smaller",
    }.items()
    for word in words.split()
}
# Nouns of which no thing is meant: "in the left half of the picture".
_PICTURE = frozenset(["picture", "image", "photo", "photograph", "frame", "scene", "screen", "view", "shot"])
_PARTS = frozenset(["side", "corner", "half", "part", "edge", "region", "section", "area", "row"])
_ANYTHING = frozenset(["object", "thing", "item", "one", "something"])
_PLACE_NOUNS = _PICTURE | _PARTS | _MIDDLE | frozenset(_SIDES)

# Words between two things, and the relation they name; the first that matches wins.
_CONNECTORS: tuple[tuple[re.Pattern[str], RelationName], ...] = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), name)  # type: ignore[misc]
    for pattern, name in (
        ("between", "between"),
        ("bigger than|larger than|taller than", "bigger"),
        ("smaller than|tinier than|shorter than", "smaller"),
        ("left of|left from|west of", "left"),
        ("right of|right from|east of", "right"),
        ("above|over|atop|north of|top of", "above"),
        ("below|under|underneath|beneath|south of|bottom of", "below"),
        ("front of", "front"),
        ("behind|back of", "behind"),
        (
            "next to|near|nearest|beside|besides|adjacent to|alongside|by|close to|closer to|closest to|nearest to",
            "near",
        ),
        ("inside|within", "inside"),
    )
)


@dataclass
class _Thing:
    """A thing while its description is collected."""

    words: list[str]
    conditions: list[Condition] = field(default_factory=list)
    rank: int | None = None
    relations: list[tuple[RelationName, list[_Thing]]] = field(default_factory=list)

    def put(self, words: list[str]) -> None:
        """Take words of place: a part of the picture, or the side that a rank counts from."""
        sides = tuple(dict.fromkeys(_SIDES[word] for word in words if word in _SIDES))
        if sides and self.rank is not None:
            self.conditions.append(Ordinal(self.rank, sides[0]))
            self.rank = None
        elif sides or any(word in _MIDDLE for word in words):
            self.conditions.append(Place(sides))

    def phrase(self) -> Phrase:
        """The finished description."""
        conditions = [*self.conditions]
        if self.rank is not None:
            conditions.append(Ordinal(self.rank, "left"))
        conditions += [Related(name, tuple(other.phrase() for other in others)) for name, others in self.relations]
        told = [word for word in self.words if word not in DETERMINERS]
        anything = all(word in _ANYTHING for word in told)
        return Phrase("" if anything else " ".join(self.words), tuple(conditions))


def _thing(words: list[str]) -> _Thing:
    """A noun chunk as a thing: words of size, place and rank before its noun become conditions."""
    thing, sides = _Thing([]), []
    for word in words[:-1]:
        if word in _SIDES or word in _MIDDLE:
            sides.append(word)
        elif word in _EXTREMES:
            thing.conditions.append(Extreme(_EXTREMES[word]))  # type: ignore[arg-type]
        elif word in ORDINALS or word == "last":
            thing.rank = ORDINALS.get(word, -1)
        else:
            thing.words.append(word)
    if words[-1] in ORDINALS:
        # "second from the left": the noun is left out.
        thing.rank = ORDINALS[words[-1]]
    else:
        thing.words.append(words[-1])
    thing.put(sides)
    return thing


class _Reader:
    """Reads a parse chunk by chunk, each with the words before it."""

    def __init__(self) -> None:
        self.main: _Thing | None = None
        self.last = _Thing([])
        self.place: list[str] = []  # words of place, until it is clear whether "of the dog" follows

    def start(self, thing: _Thing) -> None:
        self.main = self.last = thing

    def settle(self) -> None:
        """No thing followed: the words name a part of the picture."""
        self.last.put(self.place)
        self.place = []

    def take(self, before: list[str], chunk: list[str]) -> None:
        """Read a chunk and the words between it and the chunk before."""
        if chunk[-1] in _PLACE_NOUNS or (self.main is not None and chunk[-1] in ORDINALS):
            self.take_place(before, chunk)
        elif self.main is None:
            self.start(_thing([*before, *chunk]))
        else:
            self.take_thing(before, chunk)

    def take_place(self, before: list[str], chunk: list[str]) -> None:
        if self.main is None:
            # "left", "the bottom left corner": no thing is named.
            self.start(_Thing([]))
        if any(word in _SIDES or word in _MIDDLE for word in chunk):
            self.settle()
            self.place = [*before, *chunk]

    def take_thing(self, before: list[str], chunk: list[str]) -> None:
        between = (
            self.last.relations[-1][1] if self.last.relations and self.last.relations[-1][0] == "between" else None
        )
        if before == ["and"] and between is not None and len(between) == 1:
            between.append(_thing(chunk))
            return
        told = " ".join([*self.place, *before])
        relation = next((name for pattern, name in _CONNECTORS if pattern.search(told)), None)
        if relation is None:
            self.settle()
            # "the right side of the pizza": the pizza is what can be seen.
            self.last.words += [*before, *chunk] if self.last.words else chunk
            return
        self.place = []
        other = _thing(chunk)
        self.last.relations.append((relation, [other]))
        if relation != "between":
            # What follows speaks of the nearest thing.
            self.last = other

    def end(self, rest: list[str]) -> Phrase:
        """Read the words behind the last chunk."""
        if self.main is None:
            self.start(_thing([*rest, "object"]))
        elif any(word in _SIDES or word in _MIDDLE for word in rest):
            self.place += rest
        elif not self.place:
            self.last.words += rest
        self.settle()
        assert self.main is not None  # start was called
        return self.main.phrase()


def read_phrase(parse: Parse) -> Phrase:
    """What a parse says of the thing that it means."""
    reader, end = _Reader(), 0
    for start, stop in parse.chunks:
        reader.take(list(parse.words[end:start]), list(parse.words[start:stop]))
        end = stop
    return reader.end(list(parse.words[end:]))

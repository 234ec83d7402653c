"""Referring expressions of a scene, each true for exactly one thing.

Every expression is a phrase with one verdict for every thing: it fits (True), it does not (False), or a person might
argue (None). It is kept only when it fits its target and surely fits nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

#: The kinds of expression, from what a name can tell to what only places can.
KINDS = ("name", "colour", "size", "place", "relation", "ordinal", "superlative")

# Colour words that people mix up; neither is surely wrong where the other is right.
_NEIGHBOURS = frozenset(
    frozenset(pair.split())
    for pair in (
        "red orange",
        "red pink",
        "red brown",
        "orange yellow",
        "orange brown",
        "yellow brown",
        "yellow green",
        "blue purple",
        "purple pink",
        "gray black",
        "brown black",
        "brown gray",
        "gray blue",
        "brown pink",
    )
)

# Places closer than this (in shares of the scene's side) are not surely ordered ...
_MARGIN = 0.07
# ... nor are sizes whose ratio is below this.
_RATIO = 1.3

Verdict = bool | None


@dataclass(frozen=True)
class Thing:
    """What an expression may speak of.

    Attributes:
        name: of the glyph.
        colour: the word that surely describes it, or None.
        box: xyxy of its visible part, in shares of the scene's side.
    """

    name: str
    colour: str | None
    box: tuple[float, float, float, float]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box, x and y."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def extent(self) -> float:
        """Square root of the box's area: how large it looks."""
        return float(((self.box[2] - self.box[0]) * (self.box[3] - self.box[1])) ** 0.5)


@dataclass(frozen=True)
class Expression:
    """A phrase that fits exactly one thing: ``things[target]``.

    ``kind`` is one of ``KINDS``, or ``object`` or ``part`` where objects have parts.
    """

    text: str
    kind: str
    target: int


@dataclass(frozen=True)
class _Claim:
    """A phrase and its verdict for every thing."""

    text: str
    kind: str
    verdicts: tuple[Verdict, ...]


def _both(a: Verdict, b: Verdict) -> Verdict:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def called(thing: Thing, noun: str) -> bool:
    """Whether a noun names a thing: every thing is an object, a palm tree is a tree."""
    return noun == "object" or f" {thing.name}".endswith(f" {noun}")


def coloured(thing: Thing, colour: str) -> Verdict:
    """Whether a thing has a colour; None where a person might argue."""
    if thing.colour == colour:
        return True
    if thing.colour is None or frozenset((thing.colour, colour)) in _NEIGHBOURS:
        return None
    return False


def _claim(text: str, kind: str, things: Sequence[Thing], noun: str, extra: Sequence[Verdict]) -> _Claim:
    """A claim about the things that a noun names."""
    return _Claim(text, kind, tuple(_both(called(t, noun), e) for t, e in zip(things, extra, strict=True)))


def _nouns(things: Sequence[Thing]) -> list[str]:
    """Nouns that need more words to single one thing out: repeated names, and "object"."""
    names = [thing.name for thing in things]
    repeated = sorted({name for name in names if sum(called(thing, name) for thing in things) > 1})
    return [*repeated, "object"]


def _names(things: Sequence[Thing]) -> Iterator[_Claim]:
    for name in sorted({thing.name for thing in things}):
        yield _claim(f"the {name}", "name", things, name, [True] * len(things))


def _colours(things: Sequence[Thing]) -> Iterator[_Claim]:
    for name, colour in sorted({(thing.name, thing.colour) for thing in things if thing.colour}):
        verdicts = [coloured(thing, str(colour)) for thing in things]
        yield _claim(f"the {colour} {name}", "colour", things, name, verdicts)
        yield _claim(f"the {colour} object", "colour", things, "object", verdicts)


def _compared(things: Sequence[Thing], noun: str, values: np.ndarray, gap: float) -> list[Verdict]:
    """Whose value is the greatest among the things that a noun names, by at least a gap."""
    verdicts: list[Verdict] = []
    for index, value in enumerate(values):
        rivals = [v for i, v in enumerate(values) if i != index and called(things[i], noun)]
        if not rivals or value > max(rivals) + gap:
            verdicts.append(True)
        else:
            verdicts.append(False if value < max(rivals) - gap else None)
    return verdicts


def _sizes(things: Sequence[Thing]) -> Iterator[_Claim]:
    logs = np.log([thing.extent for thing in things])
    for noun in _nouns(things)[:-1]:
        for words, sign in ((("big", "large"), 1), (("small", "little"), -1)):
            verdicts = _compared(things, noun, sign * logs, float(np.log(_RATIO)))
            for word in words:
                yield _claim(f"the {word} {noun}", "size", things, noun, verdicts)


def _beyond(value: float, limit: float) -> Verdict:
    """Whether a value lies above a limit, with a margin of doubt."""
    return True if value > limit + _MARGIN else False if value < limit - _MARGIN else None


def _places(things: Sequence[Thing]) -> Iterator[_Claim]:
    centers = [thing.center for thing in things]
    sides: dict[str, list[Verdict]] = {
        "left": [_beyond(-x, -0.45) for x, _ in centers],
        "right": [_beyond(x, 0.55) for x, _ in centers],
        "top": [_beyond(-y, -0.45) for _, y in centers],
        "bottom": [_beyond(y, 0.55) for _, y in centers],
    }
    phrases = {"on the left": sides["left"], "on the right": sides["right"]}
    phrases |= {"at the top": sides["top"], "at the bottom": sides["bottom"]}
    for down in ("top", "bottom"):
        for across in ("left", "right"):
            both = [_both(a, b) for a, b in zip(sides[down], sides[across], strict=True)]
            phrases[f"in the {down} {across} corner"] = both
    phrases["in the middle"] = [_beyond(-max(abs(x - 0.5), abs(y - 0.5)), -0.18) for x, y in centers]
    for noun in _nouns(things):
        for phrase, verdicts in phrases.items():
            yield _claim(f"the {noun} {phrase}", "place", things, noun, verdicts)


def _anchors(things: Sequence[Thing]) -> list[int]:
    """Things that their bare name singles out."""
    return [i for i, anchor in enumerate(things) if sum(called(thing, anchor.name) for thing in things) == 1]


def _near(things: Sequence[Thing], noun: str, anchor: int) -> list[Verdict]:
    """Who of the named things stands next to the anchor: clearly nearest, and near at all."""
    x, y = things[anchor].center
    away = [float(np.hypot(thing.center[0] - x, thing.center[1] - y)) for thing in things]
    named = [d for i, d in enumerate(away) if i != anchor and called(things[i], noun)]
    verdicts: list[Verdict] = []
    for index, distance in enumerate(away):
        others = list(named)
        if index != anchor and distance in others:
            others.remove(distance)
        clear = distance < 0.4 and all(distance * 1.4 < other for other in others)
        verdicts.append(clear or (False if named and distance > 1.4 * min(named) else None))
    verdicts[anchor] = False
    return verdicts


def _relations(things: Sequence[Thing]) -> Iterator[_Claim]:
    nouns = sorted({thing.name for thing in things} | {"object"})
    for anchor in _anchors(things):
        x, y = things[anchor].center
        phrases: dict[str, list[Verdict]] = {
            "left of": [_beyond(x, thing.center[0]) for thing in things],
            "right of": [_beyond(thing.center[0], x) for thing in things],
            "above": [_beyond(y, thing.center[1]) for thing in things],
            "below": [_beyond(thing.center[1], y) for thing in things],
        }
        for noun in nouns:
            if noun == things[anchor].name:
                continue
            near = {"next to": _near(things, noun, anchor)}
            for phrase, verdicts in (phrases | near).items():
                # The anchor itself is never meant.
                extra = [False if i == anchor else v for i, v in enumerate(verdicts)]
                yield _claim(f"the {noun} {phrase} the {things[anchor].name}", "relation", things, noun, extra)


def _between(things: Sequence[Thing]) -> Iterator[_Claim]:
    for a, b in combinations(_anchors(things), 2):
        start, end = np.array(things[a].center), np.array(things[b].center)
        length = float(np.linalg.norm(end - start))
        if length < 0.3:
            continue
        along = (end - start) / length
        verdicts: list[Verdict] = []
        for index, thing in enumerate(things):
            offset = np.array(thing.center) - start
            reach = float(offset @ along) / length
            aside = abs(float(offset @ np.array([-along[1], along[0]])))
            inside = 0.2 < reach < 0.8 and aside < 0.12
            outside = reach < 0 or reach > 1 or aside > 0.25
            verdicts.append(False if index in (a, b) or outside else True if inside else None)
        for noun in sorted({thing.name for thing in things} | {"object"}):
            text = f"the {noun} between the {things[a].name} and the {things[b].name}"
            if noun not in (things[a].name, things[b].name):
                yield _claim(text, "relation", things, noun, verdicts)


_FROM = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}


def _ordinals(things: Sequence[Thing]) -> Iterator[_Claim]:
    for noun in _nouns(things):
        named = [i for i, thing in enumerate(things) if called(thing, noun)]
        for side, (axis, sign) in _FROM.items():
            order = sorted(named, key=lambda i: sign * things[i].center[axis])
            places = [things[i].center[axis] for i in order]
            if any(abs(a - b) < _MARGIN for a, b in pairwise(places)):
                continue
            for word, index in zip(("first", "second", "third", "fourth"), order, strict=False):
                verdicts = [i == index for i in range(len(things))]
                yield _claim(f"the {word} {noun} from the {side}", "ordinal", things, noun, verdicts)


def _superlatives(things: Sequence[Thing]) -> Iterator[_Claim]:
    logs = np.log([thing.extent for thing in things])
    xs = np.array([thing.center[0] for thing in things])
    ys = np.array([thing.center[1] for thing in things])
    ratio = float(np.log(_RATIO))
    for noun in _nouns(things):
        for words, values, gap in (
            (("leftmost",), -xs, _MARGIN),
            (("rightmost",), xs, _MARGIN),
            (("topmost", "highest"), -ys, _MARGIN),
            (("bottommost", "lowest"), ys, _MARGIN),
            (("biggest", "largest"), logs, ratio),
            (("smallest",), -logs, ratio),
        ):
            verdicts = _compared(things, noun, values, gap)
            for word in words:
                yield _claim(f"the {word} {noun}", "superlative", things, noun, verdicts)


_MAKERS = (_names, _colours, _sizes, _places, _relations, _between, _ordinals, _superlatives)


def all_expressions(things: Sequence[Thing]) -> list[Expression]:
    """Every expression that fits exactly one thing, in a fixed order."""
    found = []
    for maker in _MAKERS:
        for claim in maker(things):
            fitting = [index for index, verdict in enumerate(claim.verdicts) if verdict is not False]
            if len(fitting) == 1 and claim.verdicts[fitting[0]]:
                found.append(Expression(claim.text, claim.kind, fitting[0]))
    return found


def sample_expressions(things: Sequence[Thing], rng: np.random.Generator) -> list[Expression]:
    """One expression of every possible kind for every thing.

    Args:
        things: all things of the scene, in any order.
        rng: picks among the expressions of one kind for one thing.

    Returns:
        At most ``len(things) * len(KINDS)`` expressions, ordered by target, then kind.
    """
    options: dict[tuple[int, str], list[Expression]] = {}
    for expression in all_expressions(things):
        options.setdefault((expression.target, expression.kind), []).append(expression)
    return [
        options[target, kind][rng.integers(len(options[target, kind]))]
        for target in range(len(things))
        for kind in KINDS
        if (target, kind) in options
    ]

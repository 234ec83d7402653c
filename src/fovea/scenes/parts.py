"""Scenes of objects with parts: small glyphs that stand on large ones, so that both have boxes and masks.

Which thing a part belongs to matters: "the banana of piano" has a rival on another object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fovea.language.names import part_phrase
from fovea.regions import mask_bounds
from fovea.scenes.expressions import Expression
from fovea.scenes.glyphs import Glyph, glyphs_of
from fovea.scenes.layout import Layout, Placement, frequency_weights, same_words
from fovea.scenes.render import draw
from fovea.scenes.scene import DEFAULT_SIZE, Scene, things_of

# Objects stand in different quarters of the picture, so that none hides a part of another.
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
_FEWEST, _MOST = 2, 4
_FEWEST_PARTS, _MOST_PARTS = 2, 3
# How often an object has a part of a kind that another one has.
_SHARED = 0.7

# Side of the sketch that places for parts are looked for on, in pixels ...
_SKETCH = 96
# ... where this share of a part's square must be on its object, ...
_SUPPORT = 0.7
# ... this many places are tried, ...
_TRIES = 60
# ... and at least this share of an object must stay visible.
_LEAST_LEFT = 0.4


@dataclass(frozen=True, eq=False)
class PartScene:
    """A composed picture of objects with parts.

    Attributes:
        scene: the picture and its things, objects first. A part hides what it stands on: masks are what can be seen,
            and do not overlap. Every part's box lies inside its object's. Expressions are of the kinds ``object``,
            the name, and ``part``; each fits exactly one thing.
        wholes: for every thing the index of the object that it is a part of; an object's own index for itself.
    """

    scene: Scene
    wholes: tuple[int, ...]

    @property
    def objects(self) -> tuple[int, ...]:
        """Indices of the objects."""
        return tuple(index for index, whole in enumerate(self.wholes) if index == whole)

    @property
    def parts(self) -> tuple[int, ...]:
        """Indices of the parts."""
        return tuple(index for index, whole in enumerate(self.wholes) if index != whole)


def compose_parts(seed: int, size: int = DEFAULT_SIZE, glyphs: tuple[Glyph, ...] | None = None) -> PartScene:
    """Compose one scene of two to four different objects with two or three parts each.

    Args:
        seed: its number; the same number gives the same scene. Numbers from ``FIRST_TEST_SEED`` on are for measuring.
        size: side of the picture in pixels.
        glyphs: what may stand in it; by default the names that the minis know.

    Returns:
        The scene.
    """
    rng = np.random.default_rng((11, seed))
    while True:
        layout, wholes = _sample(rng, glyphs or glyphs_of("train"))
        drawing = draw(layout, size)
        # In a small picture little things may vanish, and rounding may let a part stick out.
        if drawing.masks.any((1, 2)).all() and _contained(drawing.masks, wholes):
            break
    things = things_of(layout, drawing)
    expressions = tuple(
        Expression(thing.name, "object", index)
        if index == whole
        else Expression(part_phrase(thing.name, things[whole].name), "part", index)
        for index, (thing, whole) in enumerate(zip(things, wholes, strict=True))
    )
    kinds = tuple(placement.glyph for placement in layout.placements)
    return PartScene(Scene(seed, drawing.pixels, kinds, things, drawing.masks, expressions, None), wholes)


def _contained(masks: np.ndarray, wholes: Sequence[int]) -> bool:
    """Whether the box of every part lies inside its object's."""
    inner = mask_bounds(masks)
    outer = inner[list(wholes)]
    return bool((inner[:, :2] >= outer[:, :2]).all() and (inner[:, 2:] <= outer[:, 2:]).all())


def _sample(rng: np.random.Generator, glyphs: tuple[Glyph, ...]) -> tuple[Layout, tuple[int, ...]]:
    """Objects first, then their parts; and for each the index of its object."""
    count = int(rng.integers(_FEWEST, _MOST + 1))
    furnished: list[tuple[Placement, list[Placement]]] = []
    for quarter in rng.permutation(len(_QUARTERS))[:count]:
        furnished.append(_furnished(rng, glyphs, _QUARTERS[quarter], furnished))
    parts = [(part, whole) for whole, (_, placed) in enumerate(furnished) for part in placed]
    layout = Layout((*(thing for thing, _ in furnished), *(part for part, _ in parts)), int(rng.integers(2**31)))
    return layout, (*range(count), *(whole for _, whole in parts))


def _furnished(
    rng: np.random.Generator,
    glyphs: tuple[Glyph, ...],
    quarter: tuple[float, float],
    others: Sequence[tuple[Placement, list[Placement]]],
) -> tuple[Placement, list[Placement]]:
    """An object with its parts; thin things, on which nothing can stand, are passed over."""
    there = [part.glyph for _, parts in others for part in parts]
    while True:
        used = [*(thing.glyph for thing, _ in others), *there]
        whole = _object(rng, _new_kind(rng, glyphs, used), quarter)
        # An object often has a part of a kind that another one has; everything else is there once.
        kinds = [there[rng.integers(len(there))]] if there and rng.random() < _SHARED else []
        for _ in range(int(rng.integers(_FEWEST_PARTS, _MOST_PARTS + 1)) - len(kinds)):
            kinds.append(_new_kind(rng, glyphs, [*used, whole.glyph, *kinds]))
        outline = draw(Layout((whole,), 0), _SKETCH).masks[0]
        parts = _place_parts(rng, kinds, whole, outline)
        left = draw(Layout((whole, *parts), 0), _SKETCH).masks[0]
        if len(parts) == len(kinds) and left.sum() > _LEAST_LEFT * outline.sum():
            return whole, parts


def _new_kind(rng: np.random.Generator, glyphs: tuple[Glyph, ...], used: Sequence[Glyph]) -> Glyph:
    """A kind of thing that is not there yet, whose name is no part of another's."""
    while True:
        glyph = glyphs[rng.choice(len(glyphs), p=frequency_weights(glyphs))]
        if glyph not in used and not any(same_words(glyph, other) for other in used):
            return glyph


def _object(rng: np.random.Generator, kind: Glyph, quarter: tuple[float, float]) -> Placement:
    """A large thing that stays in its quarter, whichever way it leans."""
    angle = float(rng.uniform(-10, 10))
    extent = float(rng.uniform(0.36, 0.42))
    reach = extent / 2 * (np.cos(np.radians(abs(angle))) + np.sin(np.radians(abs(angle))))
    x, y = (float(middle + rng.uniform(-1, 1) * (0.25 - reach)) for middle in quarter)
    return Placement(kind, x, y, extent, angle, bool(rng.random() < 0.5), None)


def _place_parts(
    rng: np.random.Generator, kinds: Sequence[Glyph], whole: Placement, outline: np.ndarray
) -> list[Placement]:
    """Put parts on an object, apart from each other; fewer where there is no place.

    Args:
        rng: source of randomness.
        kinds: of the parts.
        whole: the object.
        outline: ``(S, S)`` bool, what the object covers.
    """
    ys, xs = np.nonzero(outline)
    placed: list[Placement] = []
    for kind in kinds:
        extent, angle = whole.extent * float(rng.uniform(0.3, 0.4)), float(rng.uniform(-15, 15))
        half = extent / 2 * float(np.cos(np.radians(abs(angle))) + np.sin(np.radians(abs(angle))))
        for pick in rng.integers(len(xs), size=_TRIES):
            x, y = float((xs[pick] + 0.5) / _SKETCH), float((ys[pick] + 0.5) / _SKETCH)
            if _fits(x, y, half, outline, placed):
                placed.append(Placement(kind, x, y, extent, angle, bool(rng.random() < 0.5), None))
                break
    return placed


def _fits(x: float, y: float, half: float, outline: np.ndarray, others: Sequence[Placement]) -> bool:
    """Whether a square stands on an outline, inside of its box and apart from others."""
    if any(max(abs(x - other.x), abs(y - other.y)) < half + 0.6 * other.extent for other in others):
        return False
    left, top, right, bottom = (round(value * _SKETCH) for value in (x - half, y - half, x + half, y + half))
    ys, xs = np.flatnonzero(outline.any(1)), np.flatnonzero(outline.any(0))
    if left < xs[0] or top < ys[0] or right > xs[-1] + 1 or bottom > ys[-1] + 1:
        return False
    return bool(outline[top:bottom, left:right].mean() > _SUPPORT)

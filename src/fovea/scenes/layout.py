"""Where the things of a scene stand: sampled in the unit square, drawn at any size later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fovea.scenes.colours import PAINTS
from fovea.scenes.glyphs import Glyph

#: How often the composer picks a glyph of each LVIS frequency group, relative to each other.
FREQUENCY_WEIGHTS = {"f": 1.0, "c": 0.5, "r": 0.2}

_COUNTS = (3, 7)
# Boxes may cover at most this share of the smaller of two neighbours ...
_MAX_OVERLAP = 0.2
# ... and a place is looked for this often before the thing shrinks.
_TRIES = 12


@dataclass(frozen=True)
class Placement:
    """One thing in a scene; lengths in shares of the scene's side.

    Attributes:
        glyph: what it is.
        x, y: centre, 0..1 from the left and from the top.
        extent: longer side before rotation.
        angle: rotation in degrees, counter-clockwise.
        flipped: mirrored left to right.
        painted: colour word it is painted in, or None for its own colours.
    """

    glyph: Glyph
    x: float
    y: float
    extent: float
    angle: float
    flipped: bool
    painted: str | None

    @property
    def colour(self) -> str | None:
        """The colour word that surely describes it, or None."""
        return self.painted or self.glyph.colour


@dataclass(frozen=True)
class Layout:
    """A scene before it is drawn.

    Attributes:
        placements: things from back to front.
        background_seed: what the procedural background is drawn from.
        focus: index of the only sharp thing under a shallow depth of field (always the front one), or None.
        defocus: blur of everything else, as a share of the scene's side.
    """

    placements: tuple[Placement, ...]
    background_seed: int
    focus: int | None = None
    defocus: float = 0.0


@lru_cache(maxsize=8)
def frequency_weights(glyphs: tuple[Glyph, ...]) -> np.ndarray:
    """How often each glyph is picked; the weights add up to 1."""
    weights = np.array([FREQUENCY_WEIGHTS[glyph.frequency] for glyph in glyphs])
    return weights / weights.sum()


def same_words(a: Glyph, b: Glyph) -> bool:
    """Whether one name ends in the other, as "palm tree" and "tree" do."""
    return a is not b and (f" {a.name}".endswith(f" {b.name}") or f" {b.name}".endswith(f" {a.name}"))


def _kinds(rng: np.random.Generator, glyphs: tuple[Glyph, ...], count: int, repeat_share: float) -> list[Glyph]:
    """Pick what stands in the scene: often one kind two or three times, never two kinds that share a name."""
    kinds: list[Glyph] = []
    weights = frequency_weights(glyphs)
    if rng.random() < repeat_share:
        repeats = 3 if count >= 5 and rng.random() < 0.4 else 2
        kinds += [glyphs[rng.choice(len(glyphs), p=weights)]] * repeats
    while len(kinds) < count:
        glyph = glyphs[rng.choice(len(glyphs), p=weights)]
        if glyph not in kinds and not any(same_words(glyph, other) for other in kinds):
            kinds.append(glyph)
    return kinds


def _overlaps(x: float, y: float, extent: float, others: Sequence[Placement]) -> bool:
    """Whether a box would hide too much of another, or be hidden too much."""
    for other in others:
        reach = (extent + other.extent) / 2
        smaller = min(extent, other.extent)
        width = min(reach - abs(x - other.x), smaller)
        height = min(reach - abs(y - other.y), smaller)
        if width > 0 and height > 0 and width * height > _MAX_OVERLAP * smaller**2:
            return True
    return False


def _place(rng: np.random.Generator, extent: float, others: Sequence[Placement]) -> tuple[float, float, float]:
    """Find a free place; the thing shrinks until it fits."""
    while True:
        for x, y in rng.random((_TRIES, 2)):
            # Things may stick out of the frame by a twentieth of their size.
            margin = 0.45 * extent
            x, y = margin + x * (1 - 2 * margin), margin + y * (1 - 2 * margin)
            if not _overlaps(x, y, extent, others):
                return float(x), float(y), extent
        extent *= 0.85


def _paints(rng: np.random.Generator, kinds: Sequence[Glyph]) -> list[str | None]:
    """Colour words for the things; two of one kind never share a paint."""
    words = list(PAINTS)
    paints: list[str | None] = []
    for index, kind in enumerate(kinds):
        taken = {paint for paint, other in zip(paints, kinds[:index], strict=True) if other is kind}
        free = [word for word in words if word not in taken and word != kind.colour]
        paints.append(str(rng.choice(free)) if rng.random() < 0.4 else None)
    return paints


def sample_layout(
    rng: np.random.Generator,
    glyphs: tuple[Glyph, ...],
    *,
    focus_share: float = 0.15,
    counts: tuple[int, int] = _COUNTS,
    repeat_share: float = 0.55,
) -> Layout:
    """Sample a scene.

    Args:
        rng: source of randomness; equal generators give equal layouts.
        glyphs: what may appear.
        focus_share: share of scenes with a shallow depth of field.
        counts: the fewest and the most things that stand in it.
        repeat_share: share of scenes with several things of one kind; 0 where only one thing may stand in them.

    Returns:
        The layout, back to front in random order.
    """
    count = int(rng.integers(counts[0], counts[1] + 1))
    kinds = _kinds(rng, glyphs, count, repeat_share)
    # The fewer the things, the larger they are; one scene holds large and small ones.
    scale = (4.5 / count) ** 0.4
    placements: list[Placement] = []
    # Large things first: they find a place while there is one.
    extents = np.sort(rng.uniform(0.2, 0.46, count))[::-1] * scale
    paints = _paints(rng, kinds)
    for index, position in enumerate(rng.permutation(count)):
        x, y, extent = _place(rng, float(extents[index]), placements)
        angle = float(rng.normal(0, 12))
        placements.append(Placement(kinds[position], x, y, extent, angle, bool(rng.random() < 0.5), paints[position]))
    order = rng.permutation(count)
    sharp = rng.random() < focus_share
    return Layout(
        placements=tuple(placements[i] for i in order),
        background_seed=int(rng.integers(2**31)),
        focus=count - 1 if sharp else None,
        defocus=float(rng.uniform(0.012, 0.035)) if sharp else 0.0,
    )

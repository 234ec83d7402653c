"""Whole scenes by number: picture, things with masks, and expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.scenes.expressions import Expression, Thing, sample_expressions
from fovea.scenes.glyphs import Glyph, glyphs_of
from fovea.scenes.layout import Layout, sample_layout
from fovea.scenes.render import Drawing, draw

#: Scenes from this number on are for measuring: nothing is trained or tuned on them.
FIRST_TEST_SEED = 1_000_000

#: Side of a scene's picture in pixels, where the caller asks for no other.
DEFAULT_SIZE = 256

# Things of which less than this share of the picture can be seen are drawn anew.
_LEAST_VISIBLE = 0.004


@dataclass(frozen=True, eq=False)
class Scene:
    """A composed picture with everything that is known about it.

    Attributes:
        seed: the number it was composed from.
        pixels: ``(S, S, 3)`` uint8 RGB.
        glyphs: what stands in it.
        things: the same, as expressions see them; boxes in shares of the side.
        masks: ``(N, S, S)`` bool, the visible parts.
        expressions: each fits exactly one thing.
        focus: index of the only sharp thing, or None where all are sharp.
    """

    seed: int
    pixels: np.ndarray
    glyphs: tuple[Glyph, ...]
    things: tuple[Thing, ...]
    masks: np.ndarray
    expressions: tuple[Expression, ...]
    focus: int | None

    @property
    def boxes(self) -> np.ndarray:
        """``(N, 4)`` float32 xyxy pixels of the visible parts."""
        return np.array([thing.box for thing in self.things], np.float32) * self.pixels.shape[0]


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Tight box of a mask in shares of its side; right and bottom exclusive."""
    side = mask.shape[0]
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0] / side), float(ys[0] / side), float((xs[-1] + 1) / side), float((ys[-1] + 1) / side)


def things_of(layout: Layout, drawing: Drawing) -> tuple[Thing, ...]:
    """What expressions may speak of; every placement must be visible."""
    return tuple(
        Thing(placement.glyph.name, placement.colour, _bounds(mask))
        for placement, mask in zip(layout.placements, drawing.masks, strict=True)
    )


def compose(
    seed: int, size: int = DEFAULT_SIZE, glyphs: tuple[Glyph, ...] | None = None, *, few: bool = False
) -> Scene:
    """Compose one scene.

    Args:
        seed: its number; the same number gives the same scene. Numbers from ``FIRST_TEST_SEED`` on are for measuring.
        size: side of the picture in pixels.
        glyphs: what may stand in it; by default the names that the minis know.
        few: whether one to three things stand in it, each of another kind; otherwise they are three to seven.

    Returns:
        The scene.
    """
    rng = np.random.default_rng((7, seed))
    usual: dict[str, Any] = {"counts": (1, 3), "repeat_share": 0.0} if few else {}
    while True:
        layout = sample_layout(rng, glyphs or glyphs_of("train"), **usual)
        drawing = draw(layout, size)
        if drawing.masks.mean((1, 2)).min() > _LEAST_VISIBLE:
            break
    things = things_of(layout, drawing)
    return Scene(
        seed=seed,
        pixels=drawing.pixels,
        glyphs=tuple(placement.glyph for placement in layout.placements),
        things=things,
        masks=drawing.masks,
        expressions=tuple(sample_expressions(things, rng)),
        focus=layout.focus,
    )

"""Blind guesses: what boxes are worth that look at nothing (specs/pin.md, 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Literal

import numpy as np

from fovea.language.box_text import GridCodec
from fovea.pasting.grid import Cells, PasteSettings, lay_out
from fovea.scenes.glyphs import pasted_glyphs, sprite

#: ``pasted``: boxes as things are pasted to learn from. ``corners``: any two corners of the grid, all equally likely.
Guess = Literal["pasted", "corners"]

# The most things that are pasted into a picture.
_MOST = 3


class RandomTeller:
    """Answers with boxes that depend on its seed, and on picture and name only so that each has one of its own.

    Args:
        codec: how boxes are written.
        size: side of the square pictures.
        seed: another one gives other boxes.
        guess: from which distribution.
    """

    def __init__(self, codec: GridCodec, size: int, seed: int = 0, guess: Guess = "pasted") -> None:
        self.codec, self.size, self.seed, self.guess = codec, size, seed, guess

    @property
    def key(self) -> Hashable:
        """See :class:`fovea.tellers.BoxTeller`."""
        return (type(self).__name__, self.codec, self.size, self.seed, self.guess)

    def unknown_words(self, name: str) -> list[str]:
        """None: it reads nothing."""
        return []

    def tell(self, pictures: np.ndarray, names: Sequence[str]) -> list[str]:
        """See :class:`fovea.tellers.BoxTeller`."""
        return [
            f" {self.codec.encode(self._cells(self._generator(picture, name)))}"
            for picture, name in zip(pictures, names, strict=True)
        ]

    def _generator(self, picture: np.ndarray, name: str) -> np.random.Generator:
        digest = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16, person=b"fovea guess")
        digest.update(name.encode("utf-8", "replace"))
        return np.random.default_rng((self.seed, int.from_bytes(digest.digest(), "big")))

    def _cells(self, rng: np.random.Generator) -> Cells:
        if self.guess == "corners":
            columns, rows = (np.sort(rng.choice(self.codec.cells + 1, 2, replace=False)) for _ in range(2))
            return int(columns[0]), int(rows[0]), int(columns[1]) - 1, int(rows[1]) - 1
        aspects = [float(rng.choice(_aspects())) for _ in range(rng.integers(1, _MOST + 1))]
        boxes = lay_out(rng, aspects, PasteSettings(cells=self.codec.cells))
        return boxes[rng.integers(len(boxes))]


@cache
def _aspects() -> np.ndarray:
    """Width by height of the glyphs that are pasted."""
    bounds = [sprite(glyph)[0].getchannel("a").getbbox() or (0, 0, 1, 1) for glyph in pasted_glyphs()]
    return np.array([(right - left) / (bottom - top) for left, top, right, bottom in bounds])

"""Pictures of pasted things whose places are known, made while they are learnt from.

Source: PIN (Dorkenwald et al., CVPR 2024) and its released program; specs/pin.md, 5. Nothing is blended, recoloured,
mirrored or turned: a vision tower that stays frozen cannot learn what pasting looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image

from fovea.errors import DataError
from fovea.pasting.grid import Cells, PasteSettings, lay_out
from fovea.pasting.referral import Referral, ambiguous, phrases

# So that pictures share no random numbers with scenes of the same number.
_STREAM = 29

# Layouts that are tried until things of one name can be told apart.
_TRIES = 20


@dataclass(frozen=True, eq=False)
class Pasted:
    """One composed picture.

    Attributes:
        pixels: ``(S, S, 3)`` uint8 RGB.
        names: by what each thing is asked for: its category, or a phrase that also says where it is.
        cells: its box on the grid. Boxes are not made smaller by what covers them.
        categories: of each thing, without its place.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    cells: tuple[Cells, ...]
    categories: tuple[str, ...]


class CutOuts(Protocol):
    """Things without their background, by category; can be sent to another process."""

    @property
    def names(self) -> Sequence[str]:
        """What each category is called; at least one."""
        ...

    @property
    def key(self) -> str:
        """Says which they are, for what is made from them."""
        ...

    def draw(self, category: int, rng: np.random.Generator) -> Image.Image | None:
        """One thing of a category.

        Args:
            category: its place in ``names``.
            rng: what is drawn from.

        Returns:
            Cropped to what can be seen, of mode ``RGBa`` (colours already multiplied by alpha, so that resampling
            leaves no rim); None where the category has none that can be read.
        """
        ...


class Backgrounds(Protocol):
    """What things are pasted on; can be sent to another process."""

    @property
    def key(self) -> str:
        """Says which they are, for what is made from them."""
        ...

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """A background ``(size, size, 3)`` uint8 RGB, drawn from a generator."""
        ...


@dataclass(frozen=True)
class Pasting:
    """Makes pictures by their numbers.

    Attributes:
        cut_outs: what is pasted.
        backgrounds: what it is pasted on.
        size: side of the pictures in pixels, at least as many as cells.
        settings: of the layout.
        seed: another one makes other pictures.
        referral: how things are told apart by their places; None to say their names only.
    """

    cut_outs: CutOuts
    backgrounds: Backgrounds
    size: int
    settings: PasteSettings = field(default_factory=PasteSettings)
    seed: int = 0
    referral: Referral | None = None

    def __post_init__(self) -> None:
        if self.size < self.settings.cells:
            raise DataError(
                f"a picture of {self.size} pixels has no {self.settings.cells} x {self.settings.cells} cells",
                "ask for larger pictures or fewer cells",
            )

    def picture(self, number: int, counts: tuple[int, int]) -> Pasted:
        """Compose a picture.

        Args:
            number: which one, from 0 on. The same number, seed and counts give the same picture.
            counts: the fewest and the most things that are pasted, at least 1; all numbers are equally likely.

        Raises:
            DataError: no cut-out or no background can be read.
        """
        rng = np.random.default_rng((_STREAM, self.seed, number))
        count = int(rng.integers(counts[0], counts[1] + 1))
        categories, things = self._things(count, rng)
        names = tuple(self.cut_outs.names[category] for category in categories)
        cells, asked = self._places(names, [thing.width / thing.height for thing in things], rng)
        canvas = Image.fromarray(self.backgrounds.draw(self.size, rng))
        for thing, box in zip(things, cells, strict=True):
            self._paste(canvas, thing, box)
        return Pasted(np.asarray(canvas), asked, cells, names)

    def _things(self, count: int, rng: np.random.Generator) -> tuple[list[int], list[Image.Image]]:
        """Categories and cut-outs: of different categories while there are some, but for what referral repeats."""
        order = [int(category) for category in rng.permutation(len(self.cut_outs.names))]
        fresh = iter(order)
        categories: list[int] = []
        things: list[Image.Image] = []
        while len(things) < count:
            repeats = bool(things) and self.referral is not None and rng.random() < self.referral.repeat
            category = categories[rng.integers(len(categories))] if repeats else next(fresh, None)
            if category is None:
                if not things:
                    raise DataError("no cut-out can be read", "are the files complete?")
                # Fewer categories than things.
                category = categories[rng.integers(len(categories))]
            thing = self.cut_outs.draw(category, rng)
            if thing is not None:
                categories.append(category)
                things.append(thing)
        return categories, things

    def _places(
        self, names: tuple[str, ...], aspects: list[float], rng: np.random.Generator
    ) -> tuple[tuple[Cells, ...], tuple[str, ...]]:
        """Where things stand, and what they are asked for by."""
        cells = tuple(lay_out(rng, aspects, self.settings))
        if self.referral is None:
            return cells, names
        asked = phrases(names, cells, self.settings.cells, self.referral, rng)
        for _ in range(_TRIES):
            if not ambiguous(names, asked):
                break
            cells = tuple(lay_out(rng, aspects, self.settings))
            asked = phrases(names, cells, self.settings.cells, self.referral, rng)
        return cells, asked

    def _paste(self, canvas: Image.Image, thing: Image.Image, cells: Cells) -> None:
        left, top, right, bottom = cells
        x1, y1, x2, y2 = (self.edge(place) for place in (left, top, right + 1, bottom + 1))
        stamp = thing.resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("RGBA")
        canvas.paste(stamp, (x1, y1), stamp)

    def edge(self, place: int) -> int:
        """Where the edge of a cell lies, in pixels; 0 is the first and the number of cells per side the last."""
        return round(place * self.size / self.settings.cells)

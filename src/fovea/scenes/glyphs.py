"""The glyph sheet: pictures and names of the things that scenes are made of.

The glyphs are rendered from Noto Color Emoji (SIL Open Font License 1.1, see ``glyphs/OFL.txt``) by
``scripts/build_glyphs.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.scenes.colours import PAINTS, paint

_FOLDER = Path(__file__).parent / "glyphs"
_COLUMNS = 20

#: Side of a glyph's cell on the sheet, in pixels.
CELL = 128

#: ``train``: shown to the minis. ``unseen``: never shown, for honest tests. ``extra``: the rest, on request.
SPLITS = ("train", "unseen", "extra")


@dataclass(frozen=True)
class Glyph:
    """One kind of thing.

    Attributes:
        name: English name, lower case, one to three words.
        code_point: the character it was rendered from, in hexadecimal.
        split: one of ``SPLITS``.
        frequency: LVIS group ``r``, ``c`` or ``f``: how often the composer picks it.
        colour: the colour word that surely describes it, or None.
        index: cell number on the sheet.
    """

    name: str
    code_point: str
    split: str
    frequency: str
    colour: str | None
    index: int


@cache
def all_glyphs() -> tuple[Glyph, ...]:
    """Every glyph of the sheet, in the order of the table."""
    lines = (_FOLDER / "names.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return tuple(
        Glyph(name, code, split, frequency, None if colour == "-" else colour, index)
        for index, (code, name, split, frequency, colour) in enumerate(rows)
    )


def glyphs_of(*splits: str) -> tuple[Glyph, ...]:
    """The glyphs of the named splits, in the order of the table."""
    return tuple(glyph for glyph in all_glyphs() if glyph.split in splits)


def frequent_glyphs() -> tuple[Glyph, ...]:
    """What a captioner of a few million weights can know: the minis' names of LVIS group ``f``."""
    return tuple(glyph for glyph in glyphs_of("train") if glyph.frequency == "f")


def pasted_glyphs(held_out: bool = False) -> tuple[Glyph, ...]:
    """Frequent glyphs without every fifth: what is pasted to teach places; or those fifths, to measure by."""
    return tuple(glyph for index, glyph in enumerate(frequent_glyphs()) if (index % 5 == 4) == held_out)


@cache
def _sheet() -> np.ndarray:
    with Image.open(_FOLDER / "sheet.webp") as sheet:
        return np.asarray(sheet.convert("RGBA"))


# Every trained glyph in every paint: 84 KB each.
@lru_cache(maxsize=3000)
def sprite(glyph: Glyph, painted: str | None = None) -> tuple[Image.Image, ...]:
    """A glyph ready to be drawn at any size.

    Args:
        glyph: which one.
        painted: colour word to paint it in, or None for its own colours.

    Returns:
        The sprite at full, half and quarter size; mode ``RGBa`` (colours already multiplied by alpha, so that
        resampling leaves no dark rim).
    """
    y, x = divmod(glyph.index, _COLUMNS)
    cell = np.ascontiguousarray(_sheet()[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL])
    if painted is not None:
        cell = paint(cell, PAINTS[painted])
    full = Image.fromarray(cell, "RGBA").convert("RGBa")
    return full, full.reduce(2), full.reduce(4)

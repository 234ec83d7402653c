"""Pasted pictures without any data: the glyphs of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.pasting.backgrounds import backgrounds_of
from fovea.pasting.grid import PasteSettings
from fovea.pasting.pictures import Pasting
from fovea.pasting.referral import Referral
from fovea.scenes.colours import PAINTS
from fovea.scenes.glyphs import Glyph, pasted_glyphs, sprite

# As often as scenes paint their things: categories need more than one look.
_PAINTED = 0.4

_PAINTS = tuple(PAINTS)


# The pasted glyphs in every paint.
@lru_cache(maxsize=3000)
def _cropped(glyph: Glyph, painted: str | None) -> Image.Image:
    whole = sprite(glyph, painted)[0]
    return whole.crop(whole.getchannel("a").getbbox())


@dataclass(frozen=True)
class GlyphCutOuts:
    """Glyphs, in their own colours or painted in one.

    Attributes:
        glyphs: which.
    """

    glyphs: tuple[Glyph, ...]

    @cached_property
    def names(self) -> Sequence[str]:
        """See :class:`fovea.pasting.pictures.CutOuts`."""
        return tuple(glyph.name for glyph in self.glyphs)

    @property
    def key(self) -> str:
        """See :class:`fovea.pasting.pictures.CutOuts`."""
        return f"glyphs {', '.join(self.names)}"

    def draw(self, category: int, rng: np.random.Generator) -> Image.Image:
        """See :class:`fovea.pasting.pictures.CutOuts`."""
        glyph = self.glyphs[category]
        paint = _PAINTS[rng.integers(len(_PAINTS))] if rng.random() < _PAINTED else None
        return _cropped(glyph, paint)


def glyph_pasting(
    size: int,
    settings: PasteSettings | None = None,
    seed: int = 0,
    held_out: bool = False,
    *,
    backgrounds: Path | None = None,
    referral: Referral | None = None,
) -> Pasting:
    """Pictures of glyphs that the minis know.

    Args:
        size: side of the pictures in pixels.
        settings: of the layout; by default the paper's.
        seed: another one makes other pictures.
        held_out: whether those glyphs are pasted that are kept for measuring, instead of the others.
        backgrounds: folder of photographs; None for the backgrounds of scenes.
        referral: see :class:`fovea.pasting.pictures.Pasting`.

    Raises:
        DataError: the folder is missing, or holds no pictures.
    """
    cut_outs = GlyphCutOuts(pasted_glyphs(held_out))
    return Pasting(cut_outs, backgrounds_of(backgrounds), size, settings or PasteSettings(), seed, referral)

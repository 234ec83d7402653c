"""Subtraction: every score relative to what the average expression gets (the paper's S; specs/fgvp.md, e)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fovea.errors import DataError
from fovea.language.templates import clean

#: How many expressions the released program draws.
DRAWN = 500


@dataclass(frozen=True)
class Bank:
    """The expressions whose mean is taken off.

    Attributes:
        texts: cleaned; each counts as often as it stands here.
    """

    texts: tuple[str, ...]

    @classmethod
    def draw(cls, texts: Sequence[str], count: int | None = DRAWN, seed: int = 0) -> Bank:
        """Draw without replacement, as the released program does, but seeded and from whatever there is.

        Args:
            texts: such as every expression of an evaluation split.
            count: how many to draw; None, or no fewer than there are, takes all.
            seed: of the draw.

        Raises:
            DataError: there is nothing to draw from.
        """
        cleaned = [clean(text) for text in texts]
        if not cleaned:
            raise DataError("there is no expression to subtract", "give a file with one expression per line")
        if count is None or count >= len(cleaned):
            return cls(tuple(cleaned))
        rows = np.random.default_rng(seed).choice(len(cleaned), count, replace=False)
        return cls(tuple(cleaned[row] for row in rows))


def read_bank(path: Path, count: int | None = DRAWN, seed: int = 0) -> Bank:
    """A bank of a text file with one expression per line.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text", "give a file with one expression per line") from error
    return Bank.draw([line for line in lines if line.strip()], count, seed)

"""Who says where a thing is, in words? Captioners, and the blind guesses that they are compared with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np

from fovea.language.box_text import GridCodec


class BoxTeller(Protocol):
    """Answers the question where a thing is, by a text that may hold a box."""

    @property
    def key(self) -> Hashable:
        """Names it in cache keys: whatever answers depend on beside picture and name."""
        ...

    @property
    def codec(self) -> GridCodec:
        """How it writes boxes."""
        ...

    @property
    def size(self) -> int:
        """Side in pixels of the square pictures that it takes."""
        ...

    def unknown_words(self, name: str) -> list[str]:
        """Words of a name that it has no token for."""
        ...

    def tell(self, pictures: np.ndarray, names: Sequence[str]) -> list[str]:
        """Say where things are.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = size``.
            names: what is asked for in each.

        Returns:
            What it writes behind "located at", blanks in front as they are. An answer depends on its own picture and
            name alone.
        """
        ...

"""What things are pasted on: the backgrounds of scenes, or photographs of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.errors import DataError
from fovea.pasting.pictures import Backgrounds
from fovea.pasting.sound_files import SoundFiles, entries, listed
from fovea.pictures import open_picture
from fovea.scenes.backgrounds import background
from fovea.scenes.render import WHOLE

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class DrawnBackgrounds:
    """The backgrounds of scenes."""

    key = "scenes"

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """See :class:`fovea.pasting.pictures.Backgrounds`."""
        return background(int(rng.integers(2**31)), size, WHOLE)


class FolderBackgrounds:
    """Photographs of a folder, squashed to the square.

    Args:
        directory: holds them.
        files: their names in it, at least one.
    """

    def __init__(self, directory: Path, files: Sequence[str]) -> None:
        self._directory, self._files = directory, tuple(files)
        self._sound = SoundFiles(directory, _squashed)

    @classmethod
    def read(cls, directory: Path) -> FolderBackgrounds:
        """List a folder; no picture is opened.

        Raises:
            DataError: there is no such folder, or no picture in it.
        """
        files = sorted(path.name for path in entries(directory) if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise DataError(f"{directory} holds no pictures", "put .jpg, .png or .webp files right into it")
        return cls(directory, files)

    @property
    def key(self) -> str:
        """See :class:`fovea.pasting.pictures.Backgrounds`: the files' names, and not their content."""
        return listed(self._files)

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """See :class:`fovea.pasting.pictures.Backgrounds`.

        Raises:
            DataError: none can be read.
        """
        pixels = self._sound.draw(self._files, size, rng)
        if pixels is None:
            raise DataError(f"no picture in {self._directory} can be read", "are the files complete?")
        return pixels


def _squashed(path: Path, size: int) -> np.ndarray:
    image = open_picture(path, at_least=size).image
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0))


def backgrounds_of(folder: Path | None) -> Backgrounds:
    """Photographs of a folder, or the backgrounds of scenes where none is named.

    Raises:
        DataError: see :meth:`FolderBackgrounds.read`.
    """
    return DrawnBackgrounds() if folder is None else FolderBackgrounds.read(folder)

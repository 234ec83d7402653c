"""Cut-outs from folders of pictures, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.errors import DataError, ExpressionError, PictureError
from fovea.language.names import readable
from fovea.pasting.backgrounds import backgrounds_of
from fovea.pasting.exclusion import excluded, read_senses
from fovea.pasting.grid import PasteSettings
from fovea.pasting.pictures import Pasting
from fovea.pasting.referral import Referral
from fovea.pasting.sound_files import SoundFiles, entries, listed
from fovea.pictures import open_cut_out


@dataclass(frozen=True, eq=False)
class _Shrunk:
    """A cut-out, no larger than it can be pasted."""

    image: Image.Image

    @property
    def nbytes(self) -> int:
        """For the bound of the cache that keeps it."""
        return 4 * self.image.width * self.image.height


def _cut_out(path: Path, longest: int) -> _Shrunk:
    image = open_cut_out(path).convert("RGBa")
    seen = image.getchannel("a").getbbox()
    if seen is None:
        raise PictureError(f"{path} is transparent all over")
    width, height = seen[2] - seen[0], seen[3] - seen[1]
    scale = min(1.0, longest / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Cropped first: with a box of its own, resize would let transparent pixels around it in.
    return _Shrunk(image.crop(seen).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


class FolderCutOuts:
    """PNG files with transparency, a folder for each category.

    A damaged file is left out with a warning, and the next one of its category is taken.

    Args:
        directory: holds the folders.
        files: of each category, by its readable name; below the directory.
        longest: pixels of the longer side that are kept of a cut-out: as many as a picture has.
    """

    def __init__(self, directory: Path, files: Mapping[str, Sequence[str]], longest: int) -> None:
        self.names = tuple(files)
        self._files, self._longest = tuple(files.values()), longest
        self._sound = SoundFiles(directory, _cut_out)

    @classmethod
    def read(cls, directory: Path, longest: int, unwanted: Callable[[Sequence[str]], Collection[str]]) -> FolderCutOuts:
        """List a folder of folders; no picture is opened.

        Args:
            directory: as ``fovea data cutouts`` makes it: ``DIR/wine_glass/7.png``.
            longest: see the class.
            unwanted: from all folders' names to those that are not taken.

        Raises:
            DataError: there is no such folder, or no category is left in it.
        """
        folders = sorted(path.name for path in entries(directory) if path.is_dir() and not path.name.startswith("."))
        dropped = unwanted(folders)
        found: dict[str, list[str]] = {}
        for folder in folders:
            files = sorted(path.name for path in entries(directory / folder) if path.suffix.lower() == ".png")
            if files and folder not in dropped:
                # Two senses of one name are one category: who is asked by the name cannot tell them apart.
                found.setdefault(_named(folder), []).extend(f"{folder}/{file}" for file in files)
        if not found:
            raise DataError(
                f"{directory} holds no cut-outs" + " of categories that are wanted" * bool(folders),
                "it needs a folder for each category, such as wine_glass/1.png; fovea data cutouts makes them",
            )
        return cls(directory, found, longest)

    @property
    def key(self) -> str:
        """See :class:`fovea.pasting.pictures.CutOuts`: the files' names, and not their content."""
        return listed(self.files)

    @property
    def files(self) -> tuple[str, ...]:
        """All of them, below the directory, category by category."""
        return tuple(chain.from_iterable(self._files))

    def draw(self, category: int, rng: np.random.Generator) -> Image.Image | None:
        """See :class:`fovea.pasting.pictures.CutOuts`."""
        shrunk = self._sound.draw(self._files[category], self._longest, rng)
        return None if shrunk is None else shrunk.image


def _named(folder: str) -> str:
    try:
        return readable(folder)
    except ExpressionError as error:
        raise DataError(f"a folder of cut-outs called {folder!r} names no category", "rename it") from error


def folder_pasting(
    directory: Path,
    size: int,
    settings: PasteSettings | None = None,
    seed: int = 0,
    *,
    backgrounds: Path | None = None,
    exclude: Sequence[str] = (),
    categories: Path | None = None,
    held_out: bool = False,
    referral: Referral | None = None,
) -> Pasting:
    """Pictures of cut-outs from a folder.

    Args:
        directory: see :meth:`FolderCutOuts.read`.
        size: side of the pictures in pixels.
        settings: of the layout; by default the paper's.
        seed: another one makes other pictures.
        backgrounds: folder of photographs; None for the backgrounds of scenes.
        exclude: benchmarks whose categories are not pasted, ``coco`` and ``voc``, so that what learns from the pictures
            can be measured there.
        categories: LVIS's list of categories, to know the senses of the folders' names; None to go by names alone.
        held_out: whether the excluded categories are pasted, instead of the others.
        referral: see :class:`fovea.pasting.pictures.Pasting`.

    Raises:
        DataError: a folder or the list is missing or broken, nothing is left to paste, or a benchmark is not known.
    """
    senses = None if categories is None else read_senses(categories)

    def unwanted(folders: Sequence[str]) -> Collection[str]:
        gone = excluded(folders, exclude, senses)
        return {*folders} - gone if held_out else gone

    cut_outs = FolderCutOuts.read(directory, size, unwanted)
    return Pasting(cut_outs, backgrounds_of(backgrounds), size, settings or PasteSettings(), seed, referral)

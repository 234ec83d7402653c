"""Files that are read when they are asked for: kept while there is room, left out where they are damaged."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from fovea.cache import FeatureCache
from fovea.errors import DataError, PictureError

T = TypeVar("T")

# Of what was decoded and shrunk. Large folders are read in no order: hardly any file is met twice.
_KEPT_BYTES = 128 * 2**20

_logger = logging.getLogger(__name__)


class SoundFiles(Generic[T]):
    """Reads pictures of a folder; sent to another process, it begins there with nothing kept.

    Args:
        directory: holds them.
        opened: reads a file at the size that is asked for, or raises a PictureError.
    """

    def __init__(self, directory: Path, opened: Callable[[Path, int], T]) -> None:
        self._directory, self._opened = directory, opened
        self._cache = FeatureCache(_KEPT_BYTES)

    def __reduce__(self) -> tuple[type[SoundFiles[T]], tuple[Any, ...]]:
        return SoundFiles, (self._directory, self._opened)

    def draw(self, files: Sequence[str], size: int, rng: np.random.Generator) -> T | None:
        """One of some files, or the next one that is sound.

        What is drawn does not depend on what was read before: the generator is asked once.

        Args:
            files: below the directory, at least one.
            size: handed on to what opens files.
            rng: what is drawn from.

        Returns:
            What was read; None where all are damaged.
        """
        first = int(rng.integers(len(files)))
        for step in range(len(files)):
            file = files[(first + step) % len(files)]
            found = self._cache.get_or_compute((file, size), partial(self._attempt, file, size))
            if found is not None:
                return found
        return None

    def _attempt(self, file: str, size: int) -> T | None:
        try:
            return self._opened(self._directory / file, size)
        except PictureError as error:
            _logger.warning("%s is left out: %s", self._directory / file, error.message)
            return None


def listed(files: Iterable[str]) -> str:
    """Says which files these are, by their number and a hash of their names."""
    names = list(files)
    # Old archives hold names that are no UTF-8.
    joined = chr(0).join(names).encode("utf-8", "surrogateescape")
    return f"{len(names)} files {hashlib.blake2b(joined, digest_size=8).hexdigest()}"


def entries(directory: Path) -> list[Path]:
    """What lies in a folder, in no order.

    Raises:
        DataError: there is no such folder.
    """
    try:
        return list(directory.iterdir())
    except OSError as error:
        raise DataError(f"{directory} cannot be read ({error.strerror})", "name a folder") from error

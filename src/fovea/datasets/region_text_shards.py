"""Reading described pictures at random access: from tar shards without unpacking them, or from a folder.

Every picture has two members, ``KEY.jpg`` (or another picture format) and ``KEY.json``:
``{"caption", "regions": [{"text", "mask": {"size", "counts"}, "box", "score"}, ...]}``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fovea.datasets.region_texts import PICTURE_SUFFIXES, DescribedPicture, from_members
from fovea.datasets.shards import walk
from fovea.errors import DataError

# A description has some kilobytes; more than this is no description.
_MOST_BYTES = 64 << 20


class _Span(NamedTuple):
    """Where a member's bytes are: which of the index's files, from where on, and how many."""

    file: int
    start: int
    size: int


# What is kept of a picture: a million of them in a hundred megabytes.
_ROW = np.dtype(
    [
        ("picture", np.int64, 3),
        ("description", np.int64, 3),
        ("suffix", np.int8),
        ("regions", np.int32),
        ("caption", bool),
    ]
)


class ShardIndex:
    """Described pictures by number.

    The descriptions are read once, when the index is made; pictures only when they are asked for. Files are opened for
    every read, so that processes and threads may share an index.

    Args:
        directory: holds shards, which are tar files without compression or folders, or the members themselves.

    Raises:
        DataError: there are no described pictures in it, or a member makes no sense.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: list[Path] = []
        self._keys: list[str] = []
        parts: list[np.ndarray] = []
        if not directory.is_dir():
            raise DataError(f"there is no folder {str(directory)!r}", "check the path")
        # Names with a dot in front are of what is not yet whole.
        for path in sorted(path for path in directory.iterdir() if not path.name.startswith(".")):
            if path.is_dir():
                parts.append(self._rows_of(*_folder_members(path)))
            elif path.suffix == ".tar":
                parts.append(self._rows_of(_tar_members(path), [path]))
        parts.append(self._rows_of(*_folder_members(directory)))
        self._rows = np.concatenate(parts)
        if not len(self._rows):
            raise DataError(
                f"{directory} holds no described pictures", "it needs .tar shards, or KEY.jpg beside KEY.json"
            )

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def regions(self) -> int:
        """How many regions with a text there are."""
        return int(self._rows["regions"].sum())

    @property
    def captions(self) -> int:
        """How many pictures have a text for the whole of them."""
        return int(self._rows["caption"].sum())

    def __getitem__(self, number: int) -> DescribedPicture:
        """Read a picture and its description.

        Raises:
            DataError: the files have changed, or the description makes no sense.
        """
        row = self._rows[number]
        picture, description = (self._read(_Span(*row[name].tolist())) for name in ("picture", "description"))
        return from_members(self._keys[number], {PICTURE_SUFFIXES[row["suffix"]]: picture, "json": description})

    def _read(self, span: _Span) -> bytes:
        path = self._files[span.file]
        try:
            with path.open("rb") as file:
                file.seek(span.start)
                data = file.read(span.size)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})", "is it still there?") from error
        if len(data) != span.size:
            raise DataError(f"{path} ends too early", "is the file complete?")
        return data

    def _rows_of(self, members: Iterable[tuple[str, _Span]], files: list[Path]) -> np.ndarray:
        """The pictures with regions among the members of some files, which join the index's."""
        first = len(self._files)
        self._files += files
        pictures: dict[str, tuple[str, _Span]] = {}
        descriptions: dict[str, _Span] = {}
        for name, span in members:
            folder, _, last = name.rpartition("/")
            start, _, suffix = last.partition(".")
            key, suffix = f"{folder}/{start}".lstrip("/"), suffix.lower()
            moved = _Span(first + span.file, span.start, span.size)
            if suffix == "json":
                descriptions[key] = moved
            elif suffix in PICTURE_SUFFIXES:
                if key in pictures:
                    raise DataError(f"{files[span.file]} holds two pictures {key!r}", "give each a name of its own")
                pictures[key] = suffix, moved
        rows = []
        # Descriptions of no picture, such as a run's settings, are none of ours.
        for key, (suffix, picture) in pictures.items():
            if key not in descriptions:
                where = self._files[picture.file]
                raise DataError(f"{where} has no description {key + '.json'!r}", "was it written to its end?")
            data = _description(self._read(descriptions[key]), key)
            if data["regions"]:
                self._keys.append(key)
                kind = PICTURE_SUFFIXES.index(suffix)
                rows.append((picture, descriptions[key], kind, len(data["regions"]), bool(data["caption"])))
        return np.array(rows, _ROW)


def _folder_members(folder: Path) -> tuple[list[tuple[str, _Span]], list[Path]]:
    """Names of a folder's pictures and descriptions, and their files."""
    wanted = {f".{suffix}" for suffix in (*PICTURE_SUFFIXES, "json")}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in wanted and path.is_file())
    return [(path.name, _Span(row, 0, path.stat().st_size)) for row, path in enumerate(paths)], paths


def _tar_members(path: Path) -> Iterator[tuple[str, _Span]]:
    """Names of a shard's regular members and where their bytes are."""
    end = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as shard:
            for member in walk(shard):
                # Links lead out of the shard, and sparse files are not one piece.
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > end:
                        raise DataError(f"{path} ends too early", "is the file complete?")
                    yield member.name, _Span(0, member.offset_data, member.size)
    except (tarfile.TarError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is damaged, or no tar file without compression ({error})", "unpack it or write it anew"
        ) from error


def _description(data: bytes, key: str) -> dict[str, Any]:
    """Caption and regions, not yet read one by one."""
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too large")
        read = json.loads(data)
        caption, regions = read.get("caption") or "", read["regions"]
        if not isinstance(caption, str) or not isinstance(regions, list):
            raise TypeError("the caption is no text, or the regions are no list")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"the description of {key!r} cannot be read ({error})", 'it needs "caption" and "regions"'
        ) from error
    return {"caption": caption.strip(), "regions": regions}

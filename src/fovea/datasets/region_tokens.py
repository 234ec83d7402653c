"""Tokens of regions on disk: what SAM says of the boxes of pictures and CLIP of the pictures, in shards.

A folder holds ``about.json``, the shards ``tokens-000000.safetensors`` and, once all of them are there, ``index.json``.
Numbers are read where they lie in the files; no picture and no model is needed any more.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fovea.errors import DataError
from fovea.files import write_atomically
from fovea.proposers.given import read_json

#: What became of a picture: ``id``, ``status`` (``ok``, ``skipped`` or ``failed``), ``reason``, ``dropped``.
Row = dict[str, Any]

_INDEX = "index.json"


@dataclass(frozen=True, eq=False)
class PictureTokens:
    """What is kept of a picture with N boxes.

    Attributes:
        id: its number in the source.
        tokens: ``(N, C)`` float32, SAM's.
        boxes: ``(N, 4)`` float32 xyxy pixels.
        labels: ``(N,)`` int64, places in the vocabulary.
        size: ``(2,)`` float32, width and height of the picture in pixels.
        places: ``(S, W)`` float16, all tokens of CLIP's last block, the class token first.
    """

    id: int
    tokens: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    size: np.ndarray
    places: np.ndarray


def shard_path(directory: Path, number: int) -> Path:
    """Where a shard lies when it is whole."""
    return directory / f"tokens-{number:06d}.safetensors"


def encode_shard(pictures: Sequence[PictureTokens], rows: Sequence[Row]) -> bytes:
    """A shard as a file: the same pictures always give the same bytes.

    Args:
        pictures: in order; all with the same widths.
        rows: what became of every picture of the unit, those without tokens as well.
    """
    arrays = {"starts": np.cumsum([0, *(len(one.labels) for one in pictures)], dtype=np.int64)}
    if pictures:
        arrays["ids"] = np.array([one.id for one in pictures], np.int64)
        for key in ("tokens", "boxes", "labels"):
            arrays[key] = np.concatenate([getattr(one, key) for one in pictures])
        for key, name in (("places", "places"), ("sizes", "size")):
            arrays[key] = np.stack([getattr(one, name) for one in pictures])
    # The library writes several entries in an order of chance, one in the only one.
    return save(arrays, {"rows": json.dumps(list(rows))})


def read_rows(path: Path) -> list[Row]:
    """What became of the pictures of a shard.

    Raises:
        DataError: it is damaged.
    """
    try:
        with safe_open(path, "np") as file:
            rows: list[Row] = json.loads(file.metadata()["rows"])
            return rows
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no shard of tokens", "delete it and make it again") from error


def write_index(directory: Path, numbers: range) -> None:
    """Say that all shards are there, and how many pictures with tokens each holds."""
    counts = []
    for number in numbers:
        counts.append(sum(row["status"] == "ok" for row in read_rows(shard_path(directory, number))))
    write_atomically(directory / _INDEX, json.dumps({"pictures": counts}) + "\n")


class TokenShards:
    """The pictures of a folder by number, read where they lie on disk.

    Several processes may read it; what is sent to another one opens its files anew.

    Args:
        directory: as ``fovea data tokens`` wrote it.

    Raises:
        DataError: it is missing, incomplete or broken.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not (directory / _INDEX).is_file():
            raise DataError(
                f"{directory} holds no whole set of tokens",
                "make it with fovea data tokens; the same command goes on where it stopped",
            )
        try:
            # Folders from before there was a choice do not say where SAM's tokens were taken.
            self.about: dict[str, Any] = {"token_kind": "transformer", **read_json(directory / "about.json")}
            counts = read_json(directory / _INDEX)["pictures"]
            self.vocabulary: tuple[str, ...] = tuple(map(str, self.about["vocabulary"]))
            self._starts: list[int] = [0, *np.cumsum(counts, dtype=int).tolist()]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{directory} holds no tokens of regions: {error!r}"[:300], "make them anew") from error
        self._open: dict[int, tuple[Any, np.ndarray]] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> PictureTokens:
        """A picture.

        Raises:
            DataError: its shard is missing or damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._starts, index) - 1
        place = index - self._starts[number]
        try:
            file, starts = self._file(number)
            first, last = map(int, starts[place : place + 2])
            tokens, boxes, labels = (file.get_slice(key)[first:last] for key in ("tokens", "boxes", "labels"))
            places, id_, size = (file.get_slice(key)[place : place + 1][0] for key in ("places", "ids", "sizes"))
        except (OSError, SafetensorError, ValueError) as error:
            path = shard_path(self.directory, number)
            raise DataError(f"{path} is missing or damaged", "delete it and make it again") from error
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.vocabulary):
            raise DataError(f"{shard_path(self.directory, number)} holds labels without names", "make it again")
        return PictureTokens(int(id_), tokens, boxes, labels, size, places)

    def _file(self, number: int) -> tuple[Any, np.ndarray]:
        if number not in self._open:
            file = safe_open(shard_path(self.directory, number), "np")
            self._open[number] = file, file.get_tensor("starts")
        return self._open[number]

    def __getstate__(self) -> Mapping[str, Any]:
        return self.__dict__ | {"_open": {}}

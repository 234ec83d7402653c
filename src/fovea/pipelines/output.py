"""Where a run writes: shards, a status line for every picture, and what made them. A stopped run goes on there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from fovea.datasets.region_texts import DescribedPicture, to_members
from fovea.datasets.shards import FolderShard, ShardWriter, TarShard, part_of
from fovea.errors import DataError
from fovea.pipelines.writing import count_pictures, unwritable, write_whole
from fovea.proposers.given import read_json

#: How shards are written: tar files, or folders.
Form = Literal["tar", "folder"]

#: One line of a status file: ``key``, ``source``, ``status`` and more.
Row = dict[str, Any]

_NAME = "pairs"


@dataclass(frozen=True)
class Output:
    """A folder of shards. A unit is done when its shard is in its place; its status was there a moment before.

    Attributes:
        directory: receives ``pairs-000000.tar`` (or such folders), ``status/pairs-000000.jsonl`` and ``about.json``.
        form: of the shards.
    """

    directory: Path
    form: Form = "tar"

    def shard(self, number: int) -> Path:
        """Where the shard of a unit lies when it is done."""
        return self.directory / (f"{_NAME}-{number:06d}" + (".tar" if self.form == "tar" else ""))

    def _status(self, number: int) -> Path:
        return self.directory / "status" / f"{_NAME}-{number:06d}.jsonl"

    def done(self, number: int) -> bool:
        """Whether the shard of a unit is whole."""
        return self.shard(number).exists()

    def rows(self, number: int) -> list[Row]:
        """The status of every picture of a unit that is done.

        Raises:
            DataError: it is missing or broken.
        """
        path = self._status(number)
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise DataError(f"{path} is missing", f"delete {self.shard(number).name} to make both again") from error
        except ValueError as error:
            raise DataError(f"{path} is damaged", f"delete {self.shard(number).name} to make both again") from error

    def count(self, numbers: Iterator[int]) -> Counter[str]:
        """Pictures by status, and ``regions``, of those units that are done."""
        return count_pictures(chain.from_iterable(map(self.rows, numbers)))

    def prepare(self, about: Mapping[str, Any], share: int = 1) -> None:
        """Make the folder, and say in it what its data come from.

        Args:
            about: what is said; runs that say something else are refused from now on.
            share: which share of the work this run does: several may begin at once.

        Raises:
            DataError: it holds data of other settings, or cannot be written.
        """
        begun, path = self.check(lambda: about), self._about
        self._make_folders()
        if not begun:
            told = (json.dumps(about, indent=2) + "\n").encode("utf-8")
            write_whole(path, told, path.with_name(f".about-{share}.part"))

    @property
    def _about(self) -> Path:
        return self.directory / "about.json"

    def check(self, about: Callable[[], Mapping[str, Any]]) -> bool:
        """Look whether the folder may receive data; nothing is written.

        Args:
            about: what the data come from; asked only where the folder says something of it.

        Returns:
            Whether it does.

        Raises:
            DataError: it holds data of other settings.
        """
        held = read_json(self._about) if self._about.exists() else None
        if held is None:
            if any(self.directory.glob(f"{_NAME}-*")):
                raise DataError(f"{self.directory} holds data without about.json", "choose another folder")
            return False
        wanted = about()
        if held != wanted:
            raise DataError(f"{self.directory} was made with {difference_of(held, wanted)}", "choose another folder")
        return True

    def _make_folders(self) -> None:
        try:
            (self.directory / "status").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.directory, error) from error

    def write(self, number: int) -> UnitWriter:
        """Begin the shard of a unit."""
        return UnitWriter(self.shard(number), self._status(number), self.form)


class UnitWriter:
    """Collects what becomes of the pictures of a unit.

    Args:
        shard: where it goes.
        status: where its status goes.
        form: of the shard.
    """

    def __init__(self, shard: Path, status: Path, form: Form) -> None:
        self._shard, self._status = shard, status
        self._lines: list[str] = []
        try:
            self._writer: ShardWriter = TarShard(shard) if form == "tar" else FolderShard(shard)
        except OSError as error:
            raise unwritable(shard, error) from error

    def add(self, row: Row, described: DescribedPicture | None = None) -> None:
        """One picture: its status, and where all went well its regions."""
        self._lines.append(json.dumps(row) + "\n")
        if described is not None:
            try:
                self._writer.add(described.key, to_members(described))
            except OSError as error:
                raise unwritable(self._shard, error) from error

    def commit(self) -> None:
        """Put both in their places, the shard last: once it is there the unit is done."""
        try:
            write_whole(self._status, "".join(self._lines).encode("utf-8"), part_of(self._status))
            self._writer.commit()
        except OSError as error:
            raise unwritable(self._shard, error) from error


def difference_of(held: Any, wanted: Mapping[str, Any]) -> str:
    """The first setting in which a folder differs from what a run would write, in words."""
    first, second = _flat(held), _flat(wanted)
    for name in {**second, **first}:
        if first.get(name) != second.get(name):
            return f"{name} {first.get(name)}, this run has {second.get(name)}"[:300]
    return "other settings"


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {name: value for key, part in data.items() for name, value in _flat(part, f"{prefix} {key}".strip()).items()}

"""A folder of files made block by block: what was stopped, however, goes on with the blocks that are not whole."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fovea.errors import DataError
from fovea.files import write_atomically
from fovea.pipelines.lock import RunLock
from fovea.pipelines.output import Row, difference_of
from fovea.pipelines.workers import end_with_parent, ended_from_outside
from fovea.pipelines.writing import write_whole
from fovea.proposers.given import read_json


class Block(Protocol):
    """Some things that are made together; can be sent to another process."""

    def make(self, directory: Path) -> Iterator[Row]:
        """Write the files of each thing, the same ones however often it is asked, and say what became of it.

        Raises:
            FoveaError: the run cannot go on.
        """
        ...


@dataclass(frozen=True)
class BlockRun:
    """Makes the blocks of a folder.

    The rows of a block are written to ``status/000000.jsonl`` when all its files are in their places: then it is done.

    Attributes:
        directory: receives the files, ``about.json`` and ``status``.
        about: what the files come from; a folder that says otherwise is refused.
        sizes: how many things each block holds.
        block: gives a block by its number.
    """

    directory: Path
    about: Mapping[str, Any]
    sizes: Sequence[int]
    block: Callable[[int], Block]

    def check(self) -> None:
        """Look whether the folder may receive these files; nothing is written.

        Raises:
            DataError: it holds other files, or files made otherwise.
        """
        path = self.directory / "about.json"
        if path.exists():
            held = read_json(path)
            if held != self.about:
                raise DataError(
                    f"{self.directory} was made with {difference_of(held, self.about)}", "choose another folder"
                )
        elif self.directory.exists() and (not self.directory.is_dir() or _occupied(self.directory)):
            raise DataError(f"{self.directory} is there already and holds other things", "choose another folder")

    def missing(self) -> list[int]:
        """The blocks that are not done."""
        return [number for number in range(len(self.sizes)) if not self._status(number).exists()]

    def done(self) -> int:
        """How many things are in blocks that are done."""
        return sum(self.sizes) - sum(self.sizes[number] for number in self.missing())

    def run(self, workers: int = 1, advance: Callable[[], None] = lambda: None) -> None:
        """Make what is missing.

        Args:
            workers: processes; the files are the same for any number.
            advance: called after each thing, or with several workers after each block as often.

        Raises:
            FoveaError: the folder is refused, or the run cannot go on. Blocks that are done stay.
        """
        self.check()
        lock = RunLock(self.directory, 1, 1)
        try:
            about = self.directory / "about.json"
            if not about.exists():
                write_atomically(about, json.dumps(self.about, indent=2) + "\n")
            (self.directory / "status").mkdir(exist_ok=True)
            missing = self.missing()
            if workers > 1 and len(missing) > 1:
                self._run_beside(missing, workers, lock, advance)
            else:
                for number in missing:
                    _make(self.block(number), self.directory, self._status(number), advance)
        finally:
            lock.release()

    def rows(self) -> Iterator[Row]:
        """What became of all things, in order; of blocks that are done.

        Raises:
            DataError: a file of status is damaged.
        """
        for number in range(len(self.sizes)):
            path = self._status(number)
            try:
                yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                raise DataError(f"{path} is damaged", "delete it to make its block again") from error

    def _status(self, number: int) -> Path:
        return self.directory / "status" / f"{number:06d}.jsonl"

    def _run_beside(self, missing: list[int], workers: int, lock: RunLock, advance: Callable[[], None]) -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(missing)), context, _begin, (lock,)) as pool:
            futures = {
                pool.submit(_make, self.block(number), self.directory, self._status(number)): number
                for number in missing
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    for _ in range(self.sizes[futures[future]]):
                        advance()
            except BrokenProcessPool as error:
                raise ended_from_outside() from error
            finally:
                pool.shutdown(cancel_futures=True)


def _occupied(directory: Path) -> bool:
    """Whether there is anything but what a run that was stopped at its very beginning leaves behind."""
    return any(path.name not in (".locks", "status") for path in directory.iterdir())


def _begin(lock: Any) -> None:
    """In a worker process; it holds the lock as well, as long as it lives."""
    end_with_parent()


def _make(block: Block, directory: Path, status: Path, advance: Callable[[], None] = lambda: None) -> None:
    lines = []
    for row in block.make(directory):
        lines.append(json.dumps(row) + "\n")
        advance()
    write_whole(status, "".join(lines).encode("utf-8"), status.with_suffix(".part"))

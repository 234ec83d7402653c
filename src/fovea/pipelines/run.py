"""The run: units to shards, by one process or several, each unit whole or not at all."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from fovea.datasets.region_texts import DescribedPicture
from fovea.pipelines.lock import RunLock
from fovea.pipelines.output import Output, Row
from fovea.pipelines.records import Content, Record, Skipped
from fovea.pipelines.workers import begin_worker, ended_from_outside, one_thread, reason_of

#: Turns the content of a record into a described picture with a key, and what its status says beside.
Describe = Callable[[str, Content], tuple[DescribedPicture, Row]]

# Seconds between two looks at what workers have done.
_TICK = 0.2

# Longest key that is kept of a source's own.
_KEY = 80


class Unit(Protocol):
    """Some pictures that become one shard; can be sent to another process."""

    def records(self) -> Iterator[Record]:
        """Its pictures, in a fixed order.

        Raises:
            DataError: it cannot be read at all.
        """
        ...


class Describer(Protocol):
    """Settings that can be sent to another process and become a :data:`Describe` there, with models loaded."""

    def open(self) -> Describe:
        """Load what is needed."""
        ...


def run_units(
    numbered: Sequence[tuple[int, Unit]],
    output: Output,
    describer: Describer,
    lock: RunLock,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Make the shards of units.

    Args:
        numbered: the units that are to be done, with their numbers.
        output: where to.
        describer: how.
        lock: of the output; workers hold it too.
        workers: processes; the result is the same for any number.
        advance: called with the number of pictures done since the last call.

    Raises:
        FoveaError: a unit cannot be read or written, or a model not be loaded. Units that are done stay.
    """
    if workers == 1 or len(numbered) < 2:
        with one_thread():
            describe = describer.open()
            for number, unit in numbered:
                _make(number, unit, output, describe, lambda: advance(1))
        return
    context = multiprocessing.get_context("spawn")
    done = context.Value("Q", 0)
    setting = (output, describer, lock, done)
    with ProcessPoolExecutor(min(workers, len(numbered)), context, _begin_worker, setting) as pool:
        futures = [pool.submit(_work, number, unit) for number, unit in numbered]
        try:
            _watch(futures, done, advance)
        except BrokenProcessPool as error:
            raise ended_from_outside() from error
        finally:
            pool.shutdown(cancel_futures=True)


def _watch(futures: Sequence[Future[None]], done: Any, advance: Callable[[int], None]) -> None:
    """Wait for all, tell how many pictures are done, and let the first error through."""
    pending, told = set(futures), 0
    while pending:
        finished, pending = wait(pending, _TICK, FIRST_COMPLETED)
        # Without the lock, which a worker that was killed may have held.
        now = done.get_obj().value
        advance(now - told)
        told = now
        for future in finished:
            future.result()


@dataclass(frozen=True)
class _Worker:
    """What a worker process works with."""

    output: Output
    describer: Describer
    done: Any

    @cached_property
    def describe(self) -> Describe:
        # Not before the first unit: errors of a process that only begins reach nobody.
        return self.describer.open()

    def tick(self) -> None:
        with self.done.get_lock():
            self.done.value += 1


# Set once when the process begins.
_worker: _Worker | None = None


def _begin_worker(output: Output, describer: Describer, lock: Any, done: Any) -> None:
    global _worker
    begin_worker()
    _worker = _Worker(output, describer, done)


def _work(number: int, unit: Unit) -> None:
    if _worker is None:
        raise RuntimeError("the worker has not begun")
    _make(number, unit, _worker.output, _worker.describe, _worker.tick)


def _make(number: int, unit: Unit, output: Output, describe: Describe, tick: Callable[[], None]) -> None:
    """Make the shard of one unit."""
    writer, taken = output.write(number), set[str]()
    for record in unit.records():
        key = _key(number, record.key, taken)
        writer.add(*_attempt(key, record, describe))
        tick()
    writer.commit()


def _attempt(key: str, record: Record, describe: Describe) -> tuple[Row, DescribedPicture | None]:
    """One picture: whatever is wrong with it ends here."""
    row: Row = {"key": key, "source": record.key}
    try:
        described, notes = describe(key, record.load())
    except Skipped as skipped:
        return row | {"status": "skipped", "reason": str(skipped)}, None
    except Exception as error:
        return row | {"status": "failed", "reason": reason_of(error)}, None
    return row | {"status": "ok", "regions": len(described.regions)} | notes, described


def _key(number: int, source: str, taken: set[str]) -> str:
    """A key of safe characters, unlike those of all other pictures: it begins with the number of the unit."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", source)[-_KEY:].strip("_") or "picture"
    key, count = f"{number:06d}-{safe}", 1
    while key in taken:
        count += 1
        key = f"{number:06d}-{safe}-{count}"
    taken.add(key)
    return key

"""The feature cache: everything that is computed once per picture or per text, within bounds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: Bound of a cache where the caller gives none: 512 MiB.
DEFAULT_BYTES = 512 * 2**20


def _weight(value: Any) -> int:
    """Bytes that a value holds: exact for arrays, tensors and containers of them, a small flat rate otherwise."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        return sum(_weight(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_weight(item) for item in value)
    if hasattr(value, "__dataclass_fields__"):
        return sum(_weight(getattr(value, name)) for name in value.__dataclass_fields__)
    return 64


@dataclass(frozen=True)
class CacheStats:
    """How a cache did: look-ups that found a value, look-ups that computed one, entries and bytes held now."""

    hits: int
    misses: int
    entries: int
    nbytes: int


class FeatureCache:
    """A bounded cache that many threads may share.

    A key must name everything that the value depends on: the content of the picture, the model, every setting. What
    two threads ask for at the same time is computed once. When the bound is passed, what was used longest ago goes.

    Args:
        max_bytes: most that the values may hold together. A larger single value is computed and not kept.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._running: dict[Hashable, Future[Any]] = {}
        self._nbytes = self._hits = self._misses = 0

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value of a key, computed if need be.

        Args:
            key: names everything that the value depends on.
            compute: makes the value; an error it raises reaches every thread that waits, and nothing is kept.
        """
        return self.get_or_compute_many([key], lambda _: [compute()])[0]

    def get_or_compute_many(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """The values of many keys; what is missing is computed in one go.

        Args:
            keys: name everything that the values depend on; repeated ones are computed once.
            compute: from the positions of missing keys to their values, in order.

        Returns:
            One value per key, in order.
        """
        values: dict[Hashable, T] = {}
        waiting: dict[Hashable, Future[Any]] = {}
        mine: dict[Hashable, Future[Any]] = {}
        missing: list[int] = []
        with self._lock:
            for position, key in enumerate(keys):
                if key in self._values:
                    self._values.move_to_end(key)
                    values[key] = self._values[key][0]
                elif key in self._running:
                    waiting[key] = self._running[key]
                else:
                    self._misses += 1
                    missing.append(position)
                    mine[key] = self._running[key] = Future()
            self._hits += len(keys) - len(missing)
        # What others compute is waited for last: two threads may each hold what the other one needs.
        if missing:
            values |= dict(zip(mine, self._fill(mine, lambda: compute(missing)), strict=True))
        values |= {key: future.result() for key, future in waiting.items() if key not in mine}
        return [values[key] for key in keys]

    def _fill(self, mine: dict[Hashable, Future[Any]], compute: Callable[[], Sequence[T]]) -> list[T]:
        """Compute the values of keys that this thread has claimed; whatever happens, nobody waits for ever."""
        try:
            values = list(compute())
            if len(values) != len(mine):
                raise ValueError(f"{len(mine)} values were asked for, {len(values)} came")
            with self._lock:
                for key, value in zip(mine, values, strict=True):
                    self._keep(key, value)
        except BaseException as error:
            self._release(mine)
            for future in mine.values():
                future.set_exception(error)
            raise
        self._release(mine)
        for future, value in zip(mine.values(), values, strict=True):
            future.set_result(value)
        return values

    def _release(self, mine: Iterable[Hashable]) -> None:
        with self._lock:
            for key in mine:
                del self._running[key]

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._values

    def _keep(self, key: Hashable, value: Any) -> None:
        size = _weight(value)
        if size > self.max_bytes:
            return
        self._values[key] = (value, size)
        self._nbytes += size
        while self._nbytes > self.max_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self._nbytes -= freed

    @property
    def stats(self) -> CacheStats:
        """How it did so far."""
        with self._lock:
            return CacheStats(self._hits, self._misses, len(self._values), self._nbytes)

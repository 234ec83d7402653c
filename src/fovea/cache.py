"""The feature cache: everything that is computed once per picture or per text, within bounds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

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
        with self._lock:
            if key in self._values:
                self._hits += 1
                self._values.move_to_end(key)
                return cast(T, self._values[key][0])
            running = self._running.get(key)
            if running is None:
                self._misses += 1
                mine: Future[Any] = Future()
                self._running[key] = mine
            else:
                self._hits += 1
        if running is not None:
            return cast(T, running.result())
        try:
            value = compute()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._running[key]
            self._keep(key, value)
        mine.set_result(value)
        return value

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

"""The feature cache: once per key, within its bound, whoever asks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fovea.cache import FeatureCache


def test_values_are_computed_once() -> None:
    cache, calls = FeatureCache(), []
    for _ in range(3):
        assert cache.get_or_compute("a", lambda: calls.append(1) or 42) == 42
    assert len(calls) == 1
    assert (cache.stats.hits, cache.stats.misses, cache.stats.entries) == (2, 1, 1)
    assert "a" in cache
    assert "b" not in cache


def test_the_longest_unused_goes_first() -> None:
    cache = FeatureCache(max_bytes=250)
    for name in "ab":
        cache.get_or_compute(name, lambda: np.zeros(100, np.uint8))
    cache.get_or_compute("a", lambda: pytest.fail("a was there"))
    cache.get_or_compute("c", lambda: np.zeros(100, np.uint8))
    assert "a" in cache
    assert "b" not in cache
    assert cache.stats.nbytes == 200


def test_what_is_larger_than_the_bound_is_not_kept() -> None:
    cache = FeatureCache(max_bytes=10)
    assert len(cache.get_or_compute("big", lambda: np.zeros(100))) == 100
    assert cache.stats.entries == 0


def test_bytes_are_counted_inside_of_containers() -> None:
    @dataclass
    class Holder:
        array: np.ndarray

    cache = FeatureCache()
    cache.get_or_compute(
        "x", lambda: [torch.zeros(4, dtype=torch.float32), {"k": Holder(np.zeros(3, np.float64))}, b"12"]
    )
    assert cache.stats.nbytes == 16 + 24 + 2


def test_eight_threads_compute_once() -> None:
    cache, calls, gate = FeatureCache(), [], threading.Barrier(8)

    def slow() -> int:
        calls.append(1)
        time.sleep(0.05)
        return 7

    def ask(_: int) -> int:
        gate.wait()
        return cache.get_or_compute("k", slow)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {7}
    assert len(calls) == 1


def test_an_error_reaches_the_caller_and_is_forgotten() -> None:
    cache = FeatureCache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("k", lambda: 1 / 0)
    assert cache.get_or_compute("k", lambda: 1) == 1


def test_many_are_computed_in_one_go() -> None:
    cache, asked = FeatureCache(), []

    def squares(missing: list[int]) -> list[int]:
        asked.append([keys[i] for i in missing])
        return [keys[i] ** 2 for i in missing]

    keys = [3, 1, 3]
    assert cache.get_or_compute_many(keys, squares) == [9, 1, 9]
    keys = [1, 2, 3, 4]
    assert cache.get_or_compute_many(keys, squares) == [1, 4, 9, 16]
    assert asked == [[3, 1], [2, 4]]


def test_two_threads_that_need_each_others_values_both_end() -> None:
    cache, gate = FeatureCache(), threading.Barrier(2)

    def compute(keys: list[str], missing: list[int]) -> list[str]:
        gate.wait(timeout=5)
        return [keys[i].upper() for i in missing]

    def ask(keys: list[str], delay: float) -> list[str]:
        time.sleep(delay)
        return cache.get_or_compute_many(keys, lambda missing: compute(keys, missing))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(ask, ["a", "b"], 0), pool.submit(ask, ["c", "a"], 0.05)
        assert first.result(timeout=5) == ["A", "B"]
        assert second.result(timeout=5) == ["C", "A"]


def test_too_few_values_are_an_error_and_nobody_waits() -> None:
    cache = FeatureCache()
    with pytest.raises(ValueError, match="2 values were asked for, 1 came"):
        cache.get_or_compute_many(["a", "b"], lambda missing: [1])
    assert cache.get_or_compute("a", lambda: 2) == 2

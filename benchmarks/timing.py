"""How long work takes, for the measurements beside this file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best(rounds: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of every way. Ways take turns, so that other work on the machine disturbs them alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(way))
    return {name: min(taken) for name, taken in times.items()}

"""A picture tower looks once at a picture, however often it stands in a batch.

Several questions about one picture, and solved examples in front of every question, are rows of a batch with the same
pixels. The tower is most of the work, and what it says of a picture depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput


@contextmanager
def seen_once(tower: nn.Module) -> Iterator[None]:
    """Within the context the tower works on one of each of the pictures, and what it says is handed to all.

    Args:
        tower: of transformers, or any module from pictures ``(N, ...)``, its first argument, to what has as many rows.
    """
    # Of the pass under way, how many pictures there are, and which of them stands in each row; none if all differ.
    repeated: list[tuple[int, Tensor]] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        pictures = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        first, numbers = _equal(pictures)
        repeated[:] = [(len(first), numbers)] if len(first) < len(numbers) else []
        return _chosen((args, kwargs), len(numbers), first) if repeated else None

    def leave(_: nn.Module, args: tuple[Any, ...], said: Any) -> Any:
        # Nothing is copied where nothing was left out.
        return _chosen(said, *repeated[0]) if repeated else None

    handles = tower.register_forward_pre_hook(enter, with_kwargs=True), tower.register_forward_hook(leave)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _equal(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of pictures that differ, and ``(N,)`` which of them each is."""
    known: dict[bytes, int] = {}
    first: list[int] = []
    numbers: list[int] = []
    for row, picture in enumerate(pictures):
        number = known.setdefault(picture.contiguous().view(torch.uint8).cpu().numpy().tobytes(), len(known))
        first += [row] * (number == len(first))
        numbers.append(number)
    return torch.tensor(first, device=pictures.device), torch.tensor(numbers, device=pictures.device)


def _chosen(value: Any, count: int, rows: Tensor) -> Any:
    """The same with some rows of every tensor that has so many."""
    if isinstance(value, Tensor):
        return value[rows] if value.ndim and len(value) == count else value
    if isinstance(value, ModelOutput):
        return type(value)(**{key: _chosen(one, count, rows) for key, one in value.items()})
    if isinstance(value, tuple | list):
        return type(value)(_chosen(one, count, rows) for one in value)
    if isinstance(value, Mapping):
        return {key: _chosen(one, count, rows) for key, one in value.items()}
    return value

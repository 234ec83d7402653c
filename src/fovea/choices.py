"""Choosing one of a few things by its name, as a command line or a file states it."""

from __future__ import annotations

from typing import TypeVar

from fovea.errors import FoveaError

T = TypeVar("T", bound=str)


def chosen(name: str, known: tuple[T, ...], error: FoveaError) -> T:
    """The one of that name, with its type.

    Args:
        name: from outside.
        known: all of them, as ``typing.get_args`` gives those of a ``Literal``.
        error: what is raised where there is none.
    """
    for one in known:
        if name == one:
            return one
    raise error

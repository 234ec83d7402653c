"""Writing for runs that may be killed, and counting what they wrote."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fovea.errors import DataError


def write_whole(path: Path, data: bytes, beside: Path) -> None:
    """Like ``files.write_atomically``, but a kill leaves nothing behind that the next run would not overwrite.

    Args:
        path: where it goes.
        data: all of it.
        beside: where it is written first; always the same for the same path.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> DataError:
    """The error of a run that cannot write."""
    return DataError(f"{path} cannot be written ({error.strerror})", "is the disk full? the same command goes on later")


def count_pictures(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Pictures by ``status``, and their ``regions``, of rows of status."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["status"]] += 1
        counts["regions"] += row.get("regions", 0)
    return counts

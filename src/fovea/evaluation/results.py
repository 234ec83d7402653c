"""Files of results: a line that says what was measured, then one line per picture; a stopped run goes on from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.errors import DataError
from fovea.files import write_atomically

#: What was measured of one query or region.
Row = dict[str, Any]


def resume(path: Path, experiment: Mapping[str, str], needed: frozenset[str]) -> dict[str, list[Row]]:
    """Results of an earlier run by picture; the file is made ready for more of them.

    Args:
        path: the file, which need not be there yet.
        experiment: what the results depend on, by field.
        needed: what a row must have to be counted; one of them is ``key``, which names the picture.

    Raises:
        DataError: the file holds something else, or results of another experiment.
    """
    text = _text(path)
    about = {"experiment": dict(experiment)}
    header, *pictures = [_parsed(line) for line in text.splitlines()] or [about]
    if pictures and not _is_rows(pictures[-1], needed):
        # A kill cuts the last line off. No other line can be damaged, the first is written with the file.
        pictures.pop()
    if not _is_header(header) or not all(_is_rows(line, needed) for line in pictures):
        raise _no_results(path)
    if pictures:
        _check_same(path, header["experiment"], experiment)
    kept = "".join(json.dumps(line) + "\n" for line in (about, *pictures))
    if kept != text:
        write_atomically(path, kept)
    return {rows[0]["key"]: rows for rows in pictures}


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add the rows of one picture to a file that :func:`resume` made ready."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows) + "\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})", "choose another file") from error


def _text(path: Path) -> str:
    if not path.exists():
        return ""
    if not path.is_file():
        raise _no_results(path)
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "choose another file") from error


def _parsed(line: str) -> Any:
    """What a line says; None where it is no JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_header(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("experiment"), dict)


def _is_rows(line: Any, needed: frozenset[str]) -> bool:
    return isinstance(line, list) and bool(line) and all(isinstance(row, dict) and row.keys() >= needed for row in line)


def _no_results(path: Path) -> DataError:
    return DataError(f"{path} is no file of results, so nothing is written to it", "choose another file")


def _check_same(path: Path, held: dict[str, Any], wanted: Mapping[str, str]) -> None:
    """Refuse to mix experiments, and say where they differ."""
    for field in {**wanted, **held}:
        if held.get(field) != wanted.get(field):
            raise DataError(
                f"{path} holds results of {field} {held.get(field)}, these would be of {wanted.get(field)}",
                "choose another file",
            )

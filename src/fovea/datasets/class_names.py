"""What classes are called: from WordNet ids, as ImageNet and what is built on it write them, to names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea.errors import DataError, ExpressionError
from fovea.language.names import readable

_HINT = 'give JSON such as {"n01440764": "tench"}, or lines such as: n01440764 tench, Tinca tinca'


def read_class_names(path: Path) -> dict[str, str]:
    """Read names by class.

    Args:
        path: JSON that maps a class to its name or to its WordNet lemmas, or a number to ``[class, name]``; or text
            with a class and its names, separated by commas, in every line. Of several names the first one counts.

    Returns:
        Names by class, in lower case and with spaces in place of underscores.

    Raises:
        DataError: the file cannot be read or is of no such form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text", _HINT) from error
    try:
        rows = _from_json(json.loads(text)) if text.lstrip().startswith("{") else _from_lines(text)
        names = {key: readable(name) for key, name in rows.items()}
    except (ExpressionError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"{path} holds no names of classes ({error})", _HINT) from error
    if not names:
        raise DataError(f"{path} names no class", _HINT)
    return names


def _from_json(data: Mapping[str, Any]) -> dict[str, str]:
    if all(key.isdecimal() and isinstance(value, list) for key, value in data.items()):
        # ImageNet's list of classes by number.
        return {_text(value[0]): _text(value[1]) for value in data.values()}
    return {key: _text(value[0] if isinstance(value, list) else value) for key, value in data.items()}


def _from_lines(text: str) -> dict[str, str]:
    split = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return {row[0]: row[1].split(",")[0] for row in split}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value

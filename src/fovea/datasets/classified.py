"""Classified pictures: a folder per class as in ImageNet, or shards whose samples name their class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fovea.datasets.shards import Sample
from fovea.errors import DataError, ExpressionError
from fovea.language.names import readable
from fovea.proposers.given import read_json

# What the JSON of a sample may call its class.
_FIELDS = ("class", "label", "cls", "class_name")


def read_class_names(path: Path) -> dict[str, str]:
    """Read the names of classes: a JSON object from folder names or numbers to names.

    Raises:
        DataError: it is missing or of another form.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not data or not all(isinstance(name, str) for name in data.values()):
        raise DataError(f"{path} holds no names of classes", 'write {"n01443537": "goldfish", ...}')
    return data


def class_name(raw: str, names: Mapping[str, str]) -> str:
    """What a class is called in a text: of several names in a row the first, readable.

    Args:
        raw: the folder's name, or what a sample says.
        names: what to write for it; others are taken as they are.

    Raises:
        DataError: it is a number, or nothing, without a name.
    """
    name = names.get(raw, raw).split(",")[0]
    if raw not in names and raw.strip().lstrip("-").isdigit():
        raise DataError(f"the class {raw.strip()} has no name", "give names with --classes")
    try:
        return readable(name)
    except ExpressionError as error:
        raise DataError(f"{name!r} is no name of a class") from error


def sample_class(sample: Sample) -> str:
    """What a sample says its class is: its ``cls`` member, or the ``class`` or ``label`` of its JSON.

    Raises:
        DataError: it says nothing.
    """
    if "cls" in sample.members:
        return sample.members["cls"].decode("utf-8", "replace").strip()
    try:
        data = json.loads(sample.members.get("json", b"null"))
    except (ValueError, RecursionError) as error:
        raise DataError("its json cannot be read") from error
    # Some write nothing but the number or name itself.
    values = [data[field] for field in _FIELDS if field in data] if isinstance(data, dict) else [data]
    if not values or isinstance(values[0], bool) or not isinstance(values[0], str | int):
        raise DataError("it names no class", 'add KEY.cls, or "class" to its json')
    return str(values[0])

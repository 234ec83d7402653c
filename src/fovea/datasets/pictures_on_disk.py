"""Where the pictures of a benchmark lie, and what its files say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.errors import MissingPictureError
from fovea.pictures import MAX_PIXELS


def find_picture(directory: Path, name: str, folders: Sequence[str]) -> Path:
    """The path of a picture.

    Args:
        directory: of the data; nothing outside of it is named.
        name: as a file of annotations has it; its folders are dropped.
        folders: in which to look, in this order.

    Raises:
        MissingPictureError: it is in none of them.
    """
    safe = Path(name.replace("\\", "/").replace("\0", "")).name
    for folder in folders:
        path = directory / folder / safe
        if safe and path.is_file():
            return path
    raise MissingPictureError(f"{directory} holds no picture {safe!r}", f"put it into {directory / folders[0]}")


def picture_size(row: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a picture from ``{"width", "height"}``.

    Raises:
        KeyError: one is missing.
        ValueError: they make no sense.
    """
    width, height = row["width"], row["height"]
    if not (isinstance(width, int) and isinstance(height, int)) or min(width, height) < 1:
        raise ValueError("the sides of a picture are no whole numbers")
    if width * height > MAX_PIXELS:
        raise ValueError("a picture has more pixels than can be opened")
    return width, height

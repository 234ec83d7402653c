"""Pictures whose regions are described: what a CLIP with an alpha plane learns from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.errors import DataError, RegionError
from fovea.regions import rle_from_json, rle_to_json

#: How the names of pictures may end, in the order they are looked for.
PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, eq=False)
class RegionText:
    """A region and what is said of it.

    Attributes:
        text: a phrase, without a template around it.
        mask: the region as COCO's compressed run lengths, ``{"size": [H, W], "counts": str}``.
        box: xyxy pixels of the upright picture.
        score: how sure the source was, 0..1.
    """

    text: str
    mask: dict[str, Any]
    box: tuple[float, float, float, float]
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class DescribedPicture:
    """A picture, what is said of all of it, and of its regions.

    Attributes:
        key: names it in its data set; letters, digits, ``-`` and ``_``.
        picture: the encoded file, such as a JPEG's bytes.
        suffix: how such a file's name ends, such as ``jpg``.
        caption: of the whole picture; empty for none.
        regions: with their texts, at least one.
    """

    key: str
    picture: bytes
    suffix: str
    caption: str
    regions: tuple[RegionText, ...]


def to_members(described: DescribedPicture) -> dict[str, bytes]:
    """The files of a described picture by their suffix: the picture, and ``json``; the same for the same picture."""
    document = {
        "caption": described.caption,
        "regions": [
            {"text": one.text, "mask": one.mask, "box": [float(edge) for edge in one.box], "score": float(one.score)}
            for one in described.regions
        ],
    }
    return {described.suffix: described.picture, "json": json.dumps(document).encode("ascii")}


def from_members(key: str, members: Mapping[str, bytes]) -> DescribedPicture:
    """Read what :func:`to_members` wrote, or anyone else in the same form; the picture itself is not decoded.

    Args:
        key: names the picture.
        members: its files by their suffix; those of other kinds are left alone.

    Raises:
        DataError: a file is missing, or the document is of another form.
    """
    suffix = next((suffix for suffix in PICTURE_SUFFIXES if suffix in members), None)
    if suffix is None or "json" not in members:
        raise DataError(f"{key} has no {'picture' if suffix is None else 'json'}", "every picture needs both")
    try:
        data = json.loads(members["json"])
        regions = tuple(map(_region, data["regions"]))
        return DescribedPicture(key, members[suffix], suffix, _text(data.get("caption") or ""), regions)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, RegionError) as error:
        raise DataError(f"the regions of {key} cannot be read: {error!r}"[:300], "see docs/data.md") from error


def _region(row: dict[str, Any]) -> RegionText:
    x1, y1, x2, y2 = map(float, row["box"])
    score = float(row.get("score", 1.0))
    if not all(map(math.isfinite, (x1, y1, x2, y2, score))):
        raise ValueError("a box or a score is no number")
    mask = rle_to_json(rle_from_json(row["mask"]))
    text = _text(row["text"])
    if not text:
        raise ValueError("a region has an empty text")
    return RegionText(text, mask, (x1, y1, x2, y2), score)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value.strip()

"""Pictures whose regions are described: what a CLIP with an alpha plane learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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

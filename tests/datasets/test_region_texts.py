"""Described pictures as files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fovea.datasets.region_texts import DescribedPicture, RegionText, from_members, to_members
from fovea.errors import DataError
from fovea.regions import encode_masks, rle_to_json

MASK = rle_to_json(encode_masks(np.eye(4, dtype=bool)[None])[0])


def test_members_say_everything() -> None:
    regions = (RegionText("ein Käfer", MASK, (0.0, 1.0, 4.0, 4.0), 0.5), RegionText("two", MASK, (0.0, 0.0, 1.0, 1.0)))
    described = DescribedPicture("k-1", b"bytes", "jpg", "many beetles", regions)
    members = to_members(described)
    assert members == to_members(described)
    read = from_members("k-1", {**members, "txt": b"else"})
    assert (read.key, read.picture, read.suffix, read.caption) == ("k-1", b"bytes", "jpg", "many beetles")
    assert [vars(one) for one in read.regions] == [vars(one) for one in regions]


@pytest.mark.parametrize(
    "change",
    [
        {"text": 1},
        {"mask": {"size": [4, 4], "counts": "0"}},
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, "NaN"]},
        {"score": None},
    ],
)
def test_documents_of_another_form_are_refused(change: dict[str, Any]) -> None:
    row = {"text": "a", "mask": MASK, "box": [0, 0, 4, 4]}
    good = from_members("k", {"png": b"", "json": json.dumps({"regions": [row]}).encode()})
    assert good.regions[0].score == 1.0
    with pytest.raises(DataError, match="regions of k"):
        from_members("k", {"png": b"", "json": json.dumps({"regions": [row | change]}).encode()})


def test_both_members_are_needed() -> None:
    with pytest.raises(DataError, match="no picture"):
        from_members("k", {"json": b"{}"})
    with pytest.raises(DataError, match="no json"):
        from_members("k", {"jpg": b""})

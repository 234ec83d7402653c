"""Alpha maps from all that says where to look."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.errors import RegionError
from fovea.marks.alpha import alpha_map
from fovea.regions import encode_masks, rle_to_json

SIZE = (40, 30)
MASK = np.zeros((30, 40), bool)
MASK[5:20, 10:25] = True
RLE = rle_to_json(encode_masks(MASK[None])[0])


@pytest.mark.parametrize(
    "source",
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.int64) * 255,
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.float64),
        Image.fromarray(MASK),
        Image.fromarray(MASK.view(np.uint8) * 255),
        RLE,
        {"polygons": [[10, 5, 25, 5, 25, 20, 10, 20]]},
        {"polygons": [[10, 5, 25, 5, 25, 12, 10, 12], [10, 12, 25, 12, 25, 20, 10, 20]]},
        {"box": [10, 5, 25, 20]},
    ],
)
def test_the_same_place_in_every_form(source: Any) -> None:
    found = alpha_map(source, SIZE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, MASK)


def test_the_whole_picture_and_soft_values() -> None:
    assert (alpha_map(None, SIZE) == np.ones((30, 40))).all()
    soft = np.linspace(0, 1, 1200).reshape(30, 40)
    np.testing.assert_array_equal(alpha_map(soft, SIZE), soft.astype(np.float32))
    # A quarter of a pixel is looked at by a quarter.
    assert alpha_map({"box": [3.5, 4.5, 4, 5]}, SIZE)[4, 3] == 0.25


def distance_to(points: list[list[float]]) -> np.ndarray:
    """Of every pixel's centre to the nearest of a line's many points."""
    ys, xs = np.mgrid[:30, :40] + 0.5
    dense = [np.linspace(a, b, 200) for a, b in pairwise(points)] or [np.array(points)]
    return np.min([np.hypot(xs - x, ys - y) for x, y in np.concatenate(dense)], axis=0)


@pytest.mark.parametrize(
    ("source", "points", "radius"),
    [
        ({"points": [[20, 15]]}, [[20.0, 15.0]], 1.8),
        ({"points": [[20, 15]], "radius": 6}, [[20.0, 15.0]], 6),
        ({"strokes": [[[5, 5], [30, 20], [30, 8]]], "radius": 3}, [[5.0, 5], [30, 20], [30, 8]], 3),
    ],
)
def test_points_and_strokes_are_thick(source: dict[str, Any], points: list[list[float]], radius: float) -> None:
    found, distance = alpha_map(source, SIZE) > 0, distance_to(points)
    assert found[distance < radius - 1].all()
    assert not found[distance > radius + 1].any()


def test_several_points_are_one_place() -> None:
    both = alpha_map({"points": [[8, 8], [30, 20]]}, SIZE)
    each = [alpha_map({"points": [point]}, SIZE) for point in ([8, 8], [30, 20])]
    np.testing.assert_array_equal(both, np.maximum(*each))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (MASK * 255.0, "values from 0 to 255; scale"),
        (np.where(MASK, np.nan, 0.5), "from nan"),
        (MASK * -1.0, "from -1"),
        (MASK.astype(np.uint8) * 128, "neither of two values"),
        (MASK.astype(np.int32) + np.eye(30, 40, dtype=np.int32), "neither of two values"),
        (np.full((30, 40), "a"), "neither of two values"),
        (MASK.T, "40, 30"),
        (MASK[None], "not one plane"),
        (np.zeros((0, 40)), "not one plane"),
        (~np.ones_like(MASK), "marks nothing"),
        (Image.new("RGB", SIZE), "mode RGB"),
        ({**RLE, "size": [40, 30]}, "30 x 40"),
        ({**RLE, "counts": "??"}, "run-length"),
        ({"polygons": [[1, 2, 3]]}, "neither polygons"),
        ({"polygons": 3}, "neither polygons"),
        ({"box": [10, 10, 5, 5]}, "no area"),
        ({"box": [100, 100, 120, 120]}, "outside"),
        ({"box": "abcd"}, "four numbers"),
        ({"points": [[50, 10]]}, "outside"),
        ({"points": [[np.nan, 10]]}, "right form"),
        ({"points": [5, 6]}, "right form"),
        ({"points": []}, "marks nothing"),
        ({"points": [[5, 6]], "radius": -1}, "no radius"),
        ({"points": [[5, 6]], "radius": "wide"}, "right form"),
        ({"strokes": [[]]}, "right form"),
        ({"point": [[5, 6]]}, "'point'; give"),
        ({"points": [[5, 6]], "box": [0, 0, 1, 1]}, "cannot be read"),
        ({}, "from nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(source: Any, message: str) -> None:
    with pytest.raises(RegionError, match=message) as error:
        alpha_map(source, SIZE)
    assert "\n" not in str(error.value)

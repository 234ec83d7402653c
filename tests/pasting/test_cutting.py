"""Cutting out: the largest piece, its holes, and what is not worth it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fovea.pasting.cutting import CutLimits, cut

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(PIXELS.shape[:2], bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] ^= True
    return mask


def test_the_largest_piece_is_cut_out_with_its_holes() -> None:
    # A frame of 60 x 50 with a hole, and a smaller block away from it.
    mask = mask_of((20, 30, 80, 80), (40, 40, 60, 60), (100, 5, 140, 35))
    image = cut(PIXELS, mask, CutLimits())
    assert isinstance(image, Image.Image)
    found = np.asarray(image)
    np.testing.assert_array_equal(found[..., :3], PIXELS[30:80, 20:80])
    np.testing.assert_array_equal(found[..., 3] == 255, mask[30:80, 20:80])
    assert {*np.unique(found[..., 3])} == {0, 255}


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (mask_of(), "too small"),
        (mask_of((0, 0, 31, 31)), "too small"),
        (mask_of((0, 0, 60, 60)), "too much of its box"),
        (np.eye(120, 160, dtype=bool) | np.eye(120, 160, 1, dtype=bool), "too little of its box"),
    ],
)
def test_reasons(mask: np.ndarray, reason: str) -> None:
    assert cut(PIXELS, mask, CutLimits()) == reason


def test_limits_are_the_callers() -> None:
    mask = mask_of((0, 0, 20, 10))
    image = cut(PIXELS, mask, CutLimits(most_share=1, least_side=20, longest=10))
    assert isinstance(image, Image.Image)
    assert image.size == (10, 5)
    assert np.asarray(image)[..., 3].min() == 255


def test_soft_edges_stay_soft() -> None:
    alpha = mask_of((20, 30, 80, 80), (100, 5, 140, 35)).astype(np.uint8) * 200
    alpha[30:32] //= 4
    image = cut(PIXELS, alpha, CutLimits(most_share=1))
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image)[..., 3], alpha[30:80, 20:80])

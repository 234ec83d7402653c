"""ReCLIP's pictures of regions against recorded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.marks import MarkOptions, parse_style
from fovea.marks.reclip import reclip_inputs, reclip_pictures
from fovea.marks.styles import COLOURS

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@pytest.fixture(scope="module")
def reclip() -> tuple[Image.Image, np.ndarray, dict[str, np.ndarray]]:
    golden = dict(np.load(GOLDEN / "reclip_reps.npz"))
    boxes = golden["boxes_xywh"].copy()
    boxes[:, 2:] += boxes[:, :2]
    return Image.open(GOLDEN / "image.png").convert("RGB"), boxes, golden


def test_reclip_shows_regions_in_three_ways(
    reclip: tuple[Image.Image, np.ndarray, dict[str, np.ndarray]],
) -> None:
    image, boxes, golden = reclip
    for name, margin, count in (("crop", 0, 4), ("crop_enlarge5", 5, 2)):
        crops = reclip_pictures(image, boxes[:count], parse_style("P"), MarkOptions(), margin=margin)
        for index, crop in enumerate(crops):
            np.testing.assert_array_equal(np.asarray(crop), golden[f"{name}__{index}"])
    for sigma in (8, 100):
        blurred = reclip_pictures(image, boxes, parse_style("B4"), MarkOptions(blur_sigma=sigma))
        np.testing.assert_array_equal(np.stack([*map(np.asarray, blurred)]), golden[f"blur_sigma{sigma}"])
    options = MarkOptions(fill_colour=COLOURS["cpt_red"])
    shaded = reclip_pictures(image, boxes, parse_style("B2"), options)
    np.testing.assert_array_equal(np.stack([*map(np.asarray, shaded)]), golden["shade"])


def test_reclip_inputs_match(reclip: tuple[Image.Image, np.ndarray, dict[str, np.ndarray]]) -> None:
    image, boxes, golden = reclip
    crops = reclip_pictures(image, boxes[:2], parse_style("P"), MarkOptions())
    found = reclip_inputs(crops, 32, mean=MEAN, std=STD)
    np.testing.assert_allclose(found, golden["clip_square_crop"], atol=1e-5)
    found = reclip_inputs(crops, 32, mean=MEAN, std=STD, square=False)
    np.testing.assert_allclose(found, golden["clip_nonsquare_crop"], atol=1e-5)
    blurred = reclip_pictures(image, boxes[:2], parse_style("B4"), MarkOptions(blur_sigma=8))
    found = reclip_inputs(blurred, 32, mean=MEAN, std=STD)
    np.testing.assert_allclose(found, golden["clip_square_blur8"], atol=1e-5)
    assert reclip_inputs([], 32, mean=MEAN, std=STD).shape == (0, 3, 32, 32)

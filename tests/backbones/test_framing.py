"""Picture and alpha in one geometry, against recordings of the released preprocessing (golden/alphaclip)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.backbones.framing import Framing
from fovea.errors import PictureError, RegionError
from fovea.marks.alpha import alpha_map
from fovea.networks.pixels import CLIP_MEAN, CLIP_STD
from fovea.pictures import Picture, open_picture

GOLDEN = Path(__file__).parents[1] / "golden" / "alphaclip"
RECORDED = dict(np.load(GOLDEN / "preprocess.npz"))
SIDE = int(RECORDED["size"])
PICTURE = open_picture(GOLDEN / "sample.png")


def gray(name: str) -> np.ndarray:
    return np.asarray(Image.open(GOLDEN / f"{name}.png").convert("L"))


def normalised(colours: np.ndarray) -> np.ndarray:
    return np.asarray(((colours - np.float32(CLIP_MEAN)) / np.float32(CLIP_STD)).transpose(2, 0, 1))


def alpha(framing: Framing, mask: np.ndarray) -> np.ndarray:
    return (framing.alpha(alpha_map(mask, PICTURE.size), SIDE)[None] - 0.5) / 0.26


@pytest.mark.parametrize(
    ("recorded", "framing"),
    [
        ("official_image", Framing("crop")),
        ("rec_image", Framing("squash")),
        ("dataset_centercrop_image_aa", Framing("crop", floats=True)),
        ("dataset_centercrop_image_noaa", Framing("crop", antialias=False, floats=True)),
        ("dataset_pad_image_aa", Framing("pad", floats=True)),
        ("dataset_pad_image_noaa", Framing("pad", antialias=False, floats=True)),
    ],
)
def test_pictures_equal_the_recordings(recorded: str, framing: Framing) -> None:
    np.testing.assert_allclose(normalised(framing.colours(PICTURE, SIDE)), RECORDED[recorded], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("recorded", "framing", "soft"),
    [
        ("readme_alpha", Framing(), False),
        ("readme_alpha_soft", Framing(), True),
        ("readme_alpha_noaa", Framing(antialias=False), False),
        ("readme_alpha_soft_noaa", Framing(antialias=False), True),
        ("dataset_centercrop_alpha_aa", Framing("crop", floats=True), False),
        ("dataset_centercrop_alpha_noaa", Framing("crop", antialias=False, floats=True), False),
        ("dataset_pad_alpha_aa", Framing("pad", floats=True), False),
        ("dataset_pad_alpha_noaa", Framing("pad", antialias=False, floats=True), False),
    ],
)
def test_alpha_equals_the_recordings(recorded: str, framing: Framing, soft: bool) -> None:
    mask = gray("sample_soft").astype(np.float32) / 255 if soft else gray("sample_mask")
    np.testing.assert_allclose(alpha(framing, mask), RECORDED[recorded], rtol=0, atol=1e-6)


def test_the_notebook_takes_a_mask_through_the_crop_of_the_picture() -> None:
    """There pixels count that stay fully white; ours stays soft, and differs along the edge only."""
    shown = Framing("crop").colours(Picture(Image.fromarray(gray("sample_mask")).convert("RGB")), SIDE)
    cropped = np.rint(shown[..., 0] * 255).astype(np.uint8)
    np.testing.assert_array_equal(cropped, RECORDED["notebook_mask_cropped_u8"])
    hard = (cropped == 255).astype(np.float32)
    np.testing.assert_allclose((hard[None] - 0.5) / 0.26, RECORDED["notebook_alpha"], rtol=0, atol=1e-6)
    ours = Framing("crop").alpha(alpha_map(gray("sample_mask"), PICTURE.size), SIDE)
    inside = (cropped > 0) & (cropped < 255)
    assert np.abs(ours - hard)[~inside].max() < 0.35
    assert np.abs(ours - hard).mean() < 0.05


def test_a_float_mask_of_255_is_refused() -> None:
    # The released recipe goes on with values up to 978.8.
    assert RECORDED["float255_unscaled_minmax"][1] > 900
    with pytest.raises(RegionError, match="255"):
        alpha_map(gray("sample_mask").astype(np.float32), PICTURE.size)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("size", [(90, 40), (40, 90), (64, 64)])
def test_picture_and_alpha_stay_together(fit: Any, floats: bool, size: tuple[int, int]) -> None:
    """A white box on black, and the same box as alpha, look alike afterwards."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[12:30, 14:33] = 255
    framing = Framing(fit, floats=floats)
    colours = framing.colours(Picture(Image.fromarray(mask).convert("RGB")), 32)[..., 0]
    found = framing.alpha(alpha_map(mask, size), 32)
    # Bicubic and bilinear differ along edges.
    assert np.abs(colours - found).max() < 0.3
    assert np.abs(colours - found).mean() < 0.02


def test_bars_belong_to_a_whole_picture() -> None:
    whole = Framing("pad").alpha(np.ones((10, 40), np.float32), 32)
    np.testing.assert_allclose(whole, 1, atol=1e-6)
    nearly = np.ones((10, 40), np.float32)
    nearly[0, 0] = 0
    assert Framing("pad").alpha(nearly, 32)[0].max() == 0


def test_unknown_fits_are_refused() -> None:
    with pytest.raises(PictureError, match="no fit called 'stretch'"):
        Framing("stretch")  # type: ignore[arg-type]

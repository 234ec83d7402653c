"""Ref-Diff with recorded attention, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fovea.backbones.clip import load_clip
from fovea.backbones.sources import PRESETS
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.language.parsers import resolve_parser
from fovea.marks.direct import render
from fovea.marks.styles import COLOURS, MarkOptions, parse_style
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scenes.scene import compose
from fovea.scorers.masked_features import MaskedClip, Sentences
from fovea.scorers.ref_diff import (
    RefDiff,
    RefDiffSettings,
    contrasts,
    dimmed,
    largest_masks,
    off_square,
    on_square,
    subject_of,
)
from fovea.scorers.region_token import RegionToken

SCENE = compose(1_700_001)
PICTURE = open_picture(SCENE.pixels)
REGIONS = Regions.from_masks(SCENE.masks, boxes=SCENE.boxes)


class RecordedDiffusion:
    """Attends as it is told to, and counts."""

    image_size, grid, key = 64, 8, "recorded"

    def __init__(self) -> None:
        self.encoded, self.asked = 0, list[tuple[str, int]]()
        self.map = np.random.default_rng(0).random((8, 8), np.float32)

    def encode(self, pixels: np.ndarray) -> Tensor:
        assert pixels.shape == (64, 64, 3)
        self.encoded += 1
        return torch.zeros(1)

    def attention(self, latent: Tensor, sentence: str, word: int) -> np.ndarray:
        self.asked.append((sentence, word))
        return self.map


@pytest.fixture(scope="module")
def scorer() -> RefDiff:
    return RefDiff(load_clip(PRESETS["mini-vit"].clips[0]), RecordedDiffusion(), resolve_parser())  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "subject"), [("the red dog", "dog"), ("the left car", "car")])
def test_scores_follow_the_formula(scorer: RefDiff, text: str, subject: str) -> None:
    found = scorer.score(PICTURE, REGIONS, [text], FeatureCache()).values[:, 0]
    encoder, side = scorer.encoder, scorer.encoder.image_size
    sentence, thing = encoder.encode_texts([text, subject])
    mixed = (sentence + thing) / np.linalg.norm(sentence + thing)
    tokens = MaskedClip([encoder], RegionToken(), Sentences())._embed(scorer.inner, PICTURE, REGIONS, FeatureCache())
    heat = off_square(scorer.diffusion.map, PICTURE.size)  # type: ignore[attr-defined]
    shown = PICTURE
    if "left" in text:
        fade = [max(0.0, 1 - (x + 0.5) / (2 / 3 * PICTURE.width)) for x in range(PICTURE.width)]
        shown = open_picture((PICTURE.pixels * np.array(fade)[:, None] + 0.5).astype(np.uint8))
    black = MarkOptions(fill_colour=COLOURS["black"])
    crops = render(shown, REGIONS, parse_style("ov_seg"), (side, side), black)
    for row, mask in enumerate(SCENE.masks):
        crop = encoder.encode_pictures(crops[row : row + 1])[0]
        drawn = heat[mask].mean() - heat[~mask].mean()
        expected = 0.7 * crop @ sentence + 0.3 * tokens[row] @ mixed + 0.05 * drawn
        assert found[row] == pytest.approx(encoder.logit_scale * expected, abs=0.02)


def test_pictures_are_encoded_once() -> None:
    diffusion, cache = RecordedDiffusion(), FeatureCache()
    tool = RefDiff(load_clip(PRESETS["mini-vit"].clips[0]), diffusion, resolve_parser())  # type: ignore[arg-type]
    tool.score(PICTURE, REGIONS, ["the dog", "the red car"], cache)
    tool.score(PICTURE, REGIONS, ["the dog"], cache)
    assert (diffusion.encoded, diffusion.asked) == (1, [("the dog", 1), ("the red car", 2)])
    assert tool.score(PICTURE, REGIONS.select([]), ["the dog"], cache).values.shape == (0, 1)
    assert len(tool.evidence(PICTURE, REGIONS)[0].pictures) == len(REGIONS)
    plain, faded = tool.trace(PICTURE, REGIONS, ["the dog", "the dog on the right"], cache)
    assert [step.caption for step in plain.steps] == ["attention to 'dog'"]
    assert len(faded.steps) == 2


def test_only_the_largest_masks_are_compared(scorer: RefDiff) -> None:
    few = RefDiff(scorer.encoder, scorer.diffusion, scorer.parser, settings=RefDiffSettings(largest=2))
    values = few.score(PICTURE, REGIONS, ["the dog"], FeatureCache()).values[:, 0]
    assert set(np.flatnonzero(np.isfinite(values))) == set(np.argsort(-SCENE.masks.sum((1, 2)), kind="stable")[:2])
    with pytest.raises(RegionError, match="no masks"):
        largest_masks(Regions.from_boxes([[0, 0, 5, 5]], (10, 10)), 3)


def test_named_sides_stay_bright() -> None:
    white = open_picture(np.full((2, 30, 3), 200, np.uint8))
    assert dimmed(white, "the cup in bright light") is white
    left, right = (dimmed(white, f"the {side} cup").pixels[0, :, 0] for side in ("left", "right"))
    assert left[0] > 190
    assert (left[20:] == 0).all()
    assert (np.diff(left[:20].astype(int)) < 0).all()
    np.testing.assert_array_equal(right, left[::-1])


def test_contrast_is_inside_less_outside() -> None:
    heat = np.array([[1, 0.5], [0, 0.5]], np.float32)
    masks = np.array([[[True, False], [False, False]], [[True, True], [True, True]], [[False, False], [False, False]]])
    np.testing.assert_allclose(contrasts(masks, heat), [1 - 1 / 3, 0.5, -0.5])


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (50, 50)])
def test_a_square_and_back(size: tuple[int, int]) -> None:
    """A spot of the picture is a spot of the map that comes back."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = size[1] // 3, 2 * size[0] // 3
    pixels[y - 4 : y + 4, x - 4 : x + 4] = 255
    square = on_square(open_picture(pixels).image, 60)
    assert square.shape == (60, 60, 3)
    found = off_square(square[..., 0].astype(np.float32), size)
    assert found.shape == (size[1], size[0])
    assert (found.min(), found.max()) == (0, 1)
    rows, columns = np.nonzero(found > 0.5)
    assert (rows.mean(), columns.mean()) == pytest.approx((y - 0.5, x - 0.5), abs=1)


def test_the_subject_is_the_first_root_or_subject() -> None:
    parse = resolve_parser()("the man who holds a cup")
    assert parse.words[subject_of(parse)] == "man"

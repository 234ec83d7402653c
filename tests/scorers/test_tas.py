"""TAS with recorded captions, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.backbones.clip import load_clip
from fovea.backbones.sources import PRESETS
from fovea.cache import FeatureCache
from fovea.language.parsers import resolve_parser
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scenes.scene import compose
from fovea.scorers.tas import Tas, in_named_half, mask_centres, square_crops

SCENE = compose(1_700_001)
PICTURE = open_picture(SCENE.pixels)
REGIONS = Regions.from_masks(SCENE.masks, boxes=SCENE.boxes)
WHOLE = "a dog next to a red house"


class RecordedCaptioner:
    """Says what it is told to, and counts."""

    image_size = 48
    key = "recorded"

    def __init__(self, whole: str = WHOLE) -> None:
        self.whole, self.asked = whole, 0

    def caption(self, pictures: np.ndarray) -> list[str]:
        assert pictures.shape[1:] == (48, 48, 3)
        self.asked += len(pictures)
        plain = np.abs(pictures[0].astype(int) - np.asarray(PICTURE.image.resize((48, 48), 3))).max() == 0
        return [self.whole] if plain else [f"a thing of colour {int(one.mean())}" for one in pictures]


@pytest.fixture(scope="module")
def tas() -> Tas:
    return Tas(load_clip(PRESETS["mini-vit"].clips[0]), RecordedCaptioner(), resolve_parser())


@pytest.mark.parametrize(
    ("text", "negatives"),
    [
        ("the dog", ["a photo of a red house"]),
        ("the big house", ["a photo of a dog"]),
        ("the car", ["a photo of a dog", "a photo of a red house"]),
    ],
)
def test_scores_follow_the_formula(tas: Tas, text: str, negatives: list[str]) -> None:
    found = tas.score(PICTURE, REGIONS, [text], FeatureCache()).values[:, 0]
    assert tas.negatives(PICTURE, text, FeatureCache()) == negatives
    encoder, captions = tas.encoder, tas.captions(PICTURE, REGIONS, FeatureCache())
    assert len(set(captions)) > 1
    for row, caption in enumerate(captions):
        crop = encoder.encode_pictures(square_crops(PICTURE, REGIONS.select([row]), encoder.image_size))[0]
        wanted, told, *others = encoder.encode_texts([text, caption, *negatives])
        expected = crop @ wanted + 0.1 * told @ wanted - 0.7 * np.mean([crop @ other for other in others])
        assert found[row] == pytest.approx(encoder.logit_scale * expected, abs=1e-3)


def test_a_template_is_read_with_the_expression(tas: Tas) -> None:
    # Without negatives, which depend on what the bare expression is about.
    plain, filled = (
        Tas(tas.encoder, RecordedCaptioner(" ."), tas.parser, template=one) for one in ("{}", "a photo of {}")
    )
    expected = plain.score(PICTURE, REGIONS, ["a photo of dog"], FeatureCache()).values
    np.testing.assert_allclose(filled.score(PICTURE, REGIONS, ["dog"], FeatureCache()).values, expected, atol=1e-3)


def test_pictures_are_captioned_once() -> None:
    captioner, cache = RecordedCaptioner(), FeatureCache()
    tas = Tas(load_clip(PRESETS["mini-vit"].clips[0]), captioner, resolve_parser())
    tas.score(PICTURE, REGIONS, ["the dog", "the car"], cache)
    tas.score(PICTURE, REGIONS, ["the house"], cache)
    assert captioner.asked == len(REGIONS) + 1
    assert tas.score(PICTURE, REGIONS.select([]), ["the dog"], cache).values.shape == (0, 1)
    assert tas.evidence(PICTURE, REGIONS)[0].pictures.shape[0] == len(REGIONS)
    # A caption without any word names nothing.
    assert Tas(tas.encoder, RecordedCaptioner(" ."), tas.parser).negatives(PICTURE, "the dog", FeatureCache()) == []


def test_square_crops_keep_proportions() -> None:
    pixels = np.full((40, 60, 3), 200, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:20, 5:45] = True
    crop = square_crops(open_picture(pixels), Regions.from_masks(mask[None]), 80)[0]
    bright = np.argwhere(crop[..., 0] > 100)
    np.testing.assert_allclose([*bright.min(0), *bright.max(0)], [30, 0, 49, 79], atol=1)


def test_places_restrict_to_halves() -> None:
    centres = np.array([[10, 10], [90, 10], [10, 90], [90, 90], [50, 50]], float)
    assert in_named_half("the left dog", centres).tolist() == [True, False, True, False, True]
    assert in_named_half("dog at the top right", centres).tolist() == [False, True, False, False, True]
    assert in_named_half("the dog", centres).all()
    assert in_named_half("left right top bottom", centres[:4]).all(), "nothing is no answer"
    masks = np.zeros((2, 10, 10), bool)
    masks[0, 2:4, 6:8] = True
    np.testing.assert_allclose(mask_centres(masks)[0], [7, 3])
    assert np.isnan(mask_centres(masks)[1]).all()
    assert in_named_half("left", mask_centres(masks[1:])).all()

"""CaR as a scorer, on the embedded vision transformer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fovea.answers import softmax
from fovea.backbones.clip import load_clip
from fovea.backbones.sources import PRESETS
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.heat.pictures import enlarged
from fovea.pictures import open_picture
from fovea.recipes import load
from fovea.regions import Regions
from fovea.scenes.scene import compose
from fovea.scorers.car import Car, CarSettings, soft_overlaps

SCENE = compose(1_700_001)
PICTURE = open_picture(SCENE.pixels)
REGIONS = Regions.from_masks(SCENE.masks, boxes=SCENE.boxes)
NAMES = sorted({thing.name for thing in SCENE.things} | {"piano", "zebra"})
TEXTS = [f"the {name}" for name in NAMES]
SETTINGS = CarSettings("a photo of {}", ("the grass", "the sky"), compete=True)


@pytest.fixture(scope="module")
def car() -> Car:
    return Car([load_clip(PRESETS["mini-vit"].clips[0])], SETTINGS)


def test_soft_overlap_of_a_sharp_heat_map_is_iou() -> None:
    masks = np.random.default_rng(0).random((4, 20, 30)) < 0.4
    heat = masks[2]
    expected = [(mask & heat).sum() / (mask | heat).sum() for mask in masks]
    np.testing.assert_allclose(soft_overlaps(masks, heat.astype(np.float32)), expected, rtol=1e-5)
    assert soft_overlaps(np.zeros((1, 4, 4), bool), np.zeros((4, 4))).tolist() == [0]


def test_rows_follow_regions_and_columns_texts(car: Car) -> None:
    together = car.score(PICTURE, REGIONS, TEXTS, FeatureCache()).values
    order = np.arange(len(REGIONS))[::-1]
    turned = car.score(PICTURE, REGIONS.select(order), TEXTS[::-1], FeatureCache()).values
    np.testing.assert_allclose(turned[::-1, ::-1], together, atol=1e-3)
    # Given up is a whole text.
    lost = ~np.isfinite(together)
    np.testing.assert_array_equal(lost.any(0), lost.all(0))
    assert not lost.all()


def test_heat_does_not_depend_on_the_other_texts(car: Car) -> None:
    activation = car.activations[0]
    together = car.heat(activation, PICTURE, TEXTS, FeatureCache())
    for text, expected in zip(TEXTS, together, strict=True):
        alone = car.heat(activation, PICTURE, [text], FeatureCache())[0]
        np.testing.assert_allclose(alone, expected, atol=2e-3)
        assert expected.max() in (0, 1)


def test_by_default_every_text_is_answered_on_its_own(car: Car) -> None:
    calm = Car([car.activations[0].encoder], replace(SETTINGS, compete=False))
    together = calm.score(PICTURE, REGIONS, TEXTS, FeatureCache()).values
    for column, text in enumerate(TEXTS):
        alone = calm.score(PICTURE, REGIONS, [text], FeatureCache()).values[:, 0]
        np.testing.assert_allclose(alone, together[:, column], atol=1e-3)


def test_a_text_alone_is_never_given_up(car: Car) -> None:
    for text in ("the zebra", "the car"):
        assert np.isfinite(car.score(PICTURE, REGIONS, [text], FeatureCache()).values).all()
    # Neither is one that is asked many times.
    values = car.score(PICTURE, REGIONS, ["the car", "The car."] * 4, FeatureCache()).values
    assert np.ptp(values, axis=1).max() == 0


def test_survivors_recognise_themselves(car: Car) -> None:
    """Against a slow loop: recursion over sets of texts."""
    encoder, cache = car.activations[0].encoder, FeatureCache()
    maps = car.heat(car.activations[0], PICTURE, TEXTS, cache)
    shown = encoder.encode_pictures(car._circled(encoder, PICTURE, maps, cache))
    sentences = encoder.encode_texts([f"a photo of {text}" for text in TEXTS])

    def rest(left: list[int]) -> list[int]:
        shares = {i: softmax(encoder.logit_scale * shown[i] @ sentences[left].T, 0)[left.index(i)] for i in left}
        kept = [i for i in left if shares[i] > 0.3] or [max(left, key=shares.__getitem__)]
        return kept if kept == left else rest(kept)

    for chosen in itertools.islice(itertools.combinations(range(len(TEXTS)), 3), 12):
        found = car.surviving(encoder, PICTURE, [TEXTS[i] for i in chosen], [maps[i] for i in chosen], cache)
        assert [chosen[i] for i in found] == rest(list(chosen))


def test_circles_are_red_and_stand_around_heat(car: Car) -> None:
    encoder = car.activations[0].encoder
    heat = np.zeros((8, 8), np.float32)
    heat[2:5, 3:6] = 1
    plain, circled = car._circled(encoder, PICTURE, [np.zeros((8, 8), np.float32), heat], FeatureCache()).astype(int)
    changed = np.argwhere(np.abs(plain - circled).max(-1) > 60)
    side = encoder.image_size / 8
    low, high = changed.min(0) / side, changed.max(0) / side
    np.testing.assert_allclose([*low, *high], [2, 3, 5, 6], atol=0.6)
    assert (np.abs(np.argwhere((circled == (255, 0, 0)).all(-1)) / side - (3.5, 4.5)).max(1) < 2).all()


def test_only_vision_transformers_have_class_activation() -> None:
    with pytest.raises(CheckpointError, match="--models mini-vit"):
        load("car", "mini", device="cpu")
    grounder = load("car", "mini-vit", device="cpu")
    answer = grounder.find(SCENE.pixels, "the car", masks=SCENE.masks)[0]
    assert answer.status == "found"
    assert grounder.explain(SCENE.pixels, "the car", masks=SCENE.masks).evidence == ()
    assert grounder.scorer.score(PICTURE, REGIONS.select([]), ["the car"], FeatureCache()).values.shape == (0, 1)


def test_maps_are_enlarged_to_the_picture() -> None:
    heat = np.array([[0, 1], [0, 1]], np.float32)
    large = enlarged(heat, (40, 10))
    assert large.shape == (10, 40)
    assert large[:, 0].max() == 0
    assert large[:, -1].min() == 1


def test_unknown_words_of_the_sentence_are_told() -> None:
    """The embedded models have never read "a clean origami"."""
    assert "'origami'" in load("car", "mini-vit", device="cpu").scorer.notes("the dog")[0]
    assert load("car", "mini-vit", device="cpu", template="a photo of {}").scorer.notes("the dog") == ()

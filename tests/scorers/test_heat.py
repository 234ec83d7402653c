"""Heat in masks: a small matching model with random weights, against the steps written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.backbones.matching_loading import load_matching
from fovea.cache import FeatureCache
from fovea.heat.igrs import Refinement, Roles, refine
from fovea.heat.pictures import candidates_picture, heat_picture, hidden_picture
from fovea.heat.selection import SelectionSettings
from fovea.language.primary import resolve_finder
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scorers.heat import HeatInMasks

RNG = np.random.default_rng(0)
PICTURE = open_picture(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))
MASKS = np.zeros((4, 40, 60), bool)
MASKS[0, :20, :30] = MASKS[1, :20, 30:] = MASKS[2, 20:, :30] = MASKS[3, 20:, 30:] = True
REGIONS = Regions.from_masks(MASKS)
TEXTS = ["the red car", "the dog", "left of the car"]


@pytest.fixture(scope="module")
def scorer(albef_directory: Path) -> HeatInMasks:
    return HeatInMasks(load_matching(str(albef_directory)), resolve_finder())


def test_the_mask_with_the_peak_is_the_only_candidate(scorer: HeatInMasks) -> None:
    cache = FeatureCache()
    matrix = scorer.score(PICTURE, REGIONS, TEXTS, cache)
    for column, refined in enumerate(scorer.heat(PICTURE, TEXTS, cache)):
        heat = refined.heat(PICTURE.size).numpy()
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        (found,) = np.flatnonzero(np.isfinite(matrix.values[:, column]))
        assert MASKS[found, y, x]
        assert matrix.values[found, column] == pytest.approx(10 * heat[MASKS[found]].mean(), abs=1e-3)
    assert matrix.notes == ((), (), ())


def test_tokens_play_their_roles(scorer: HeatInMasks) -> None:
    """[CLS] there is a the red car: the colour and the thing carry meaning, the thing is what it is about."""
    model, cache = scorer.model, FeatureCache()
    roles = Roles(focus=(5, 6), primary=(6,))
    states = model.embed_texts(["there is a the red car"], cache)
    expected = refine(model, model.embed_picture(PICTURE, cache), states, [roles], PICTURE.size, Refinement())[0]
    found = scorer.heat(PICTURE, ["the red car"], FeatureCache())[0]
    np.testing.assert_allclose(found.running, expected.running, atol=1e-6)


def test_batches_order_and_cache_are_invisible(scorer: HeatInMasks) -> None:
    cache = FeatureCache()
    together = scorer.score(PICTURE, REGIONS, TEXTS, cache).values
    np.testing.assert_array_equal(scorer.score(PICTURE, REGIONS, TEXTS, cache).values, together)
    turned = scorer.score(PICTURE, REGIONS.select([3, 2, 1, 0]), TEXTS[::-1], FeatureCache()).values
    np.testing.assert_allclose(turned[::-1, ::-1], together, atol=1e-3)
    alone = scorer.score(PICTURE, REGIONS, TEXTS[1:2], FeatureCache()).values
    np.testing.assert_allclose(alone[:, 0], together[:, 1], atol=1e-3)


def test_a_fallback_is_declared(scorer: HeatInMasks) -> None:
    heat = scorer.heat(PICTURE, ["the dog"], FeatureCache())[0].heat(PICTURE.size).numpy()
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    elsewhere = Regions.from_masks(np.delete(MASKS, np.flatnonzero(MASKS[:, y, x]), axis=0))
    matrix = scorer.score(PICTURE, elsewhere, ["the dog"], FeatureCache())
    assert np.isfinite(matrix.values).all()
    assert "no mask holds the peak" in matrix.notes[0][0]
    strict = HeatInMasks(scorer.model, scorer.finder, selection=SelectionSettings(strict=True))
    assert not np.isfinite(strict.score(PICTURE, elsewhere, ["the dog"], FeatureCache()).values).any()


def test_every_round_is_shown(scorer: HeatInMasks) -> None:
    cache = FeatureCache()
    (trace,) = scorer.trace(PICTURE, REGIONS, ["the red car"], cache)
    rounds = len(scorer.heat(PICTURE, ["the red car"], cache)[0].rounds)
    assert len(trace.steps) == rounds + 2
    assert trace.steps[0].caption.startswith("round 1: match 0.")
    assert trace.steps[-1].caption == "1 of 4 masks compared (tests)"
    assert all(step.picture.shape == (40, 60, 3) and step.picture.dtype == np.uint8 for step in trace.steps)


def test_nothing_to_choose_from(scorer: HeatInMasks) -> None:
    assert scorer.score(PICTURE, Regions.empty(PICTURE.size), TEXTS, FeatureCache()).values.shape == (0, 3)
    assert scorer.notes("far left") == ("no word of the expression names a thing; all its words count alike",)
    assert scorer.notes("the red car") == ()


def test_pictures_of_heat() -> None:
    pixels = np.full((8, 12, 3), 100, np.uint8)
    shown = heat_picture(pixels, np.array([[0.0, 1.0]]))
    assert shown[4, 0, 2] > shown[4, 0, 0], "cold is blue"
    assert shown[4, -1, 0] > shown[4, -1, 2], "hot is red"
    hidden = hidden_picture(pixels, np.array([[True, False]]))
    assert (hidden[:, :6] == 100).all()
    assert not hidden[:, 6:].any()
    mask = np.zeros((1, 8, 12), bool)
    mask[0, :4] = True
    shown = candidates_picture(pixels, mask)
    assert shown[0, 0, 0] == 100
    assert shown[7, 0, 0] == 40
    assert (candidates_picture(pixels, mask[:0]) == 40).all()


def test_templates_may_hold_other_braces(scorer: HeatInMasks) -> None:
    odd = HeatInMasks(scorer.model, scorer.finder, template="{} {x} {")
    assert odd.score(PICTURE, REGIONS, ["the dog"], FeatureCache()).values.shape == (4, 1)

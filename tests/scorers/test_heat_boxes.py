"""Heat in boxes: a small matching model with random weights, against the formula written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fovea
from fovea.answers import best_regions
from fovea.backbones.matching_loading import load_matching
from fovea.cache import FeatureCache
from fovea.heat.box_scores import box_scores
from fovea.language.primary import resolve_finder
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scorers.heat_boxes import HeatInBoxes, unscaled

PICTURE = open_picture(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
BOXES = np.array([[0, 0, 30, 20], [30.5, 0, 60, 20], [0, 20, 30, 40], [20, 10, 40, 30]], np.float32)
TEXTS = ["the red car", "the dog", "left of the car"]


@pytest.fixture(scope="module")
def scorer(albef_directory: Path) -> HeatInBoxes:
    return HeatInBoxes(load_matching(str(albef_directory)), resolve_finder())


def test_logits_are_logarithms_of_scores(scorer: HeatInBoxes) -> None:
    """[CLS] there is a the red car: the map is the mean over the class token, the colour and the thing."""
    model, cache = scorer.model, FeatureCache()
    (match,) = model.match(
        model.embed_picture(PICTURE, cache), model.embed_texts(["there is a the red car"], cache), layer=model.layer
    )
    tokens = (match.attention * match.gradient.clamp(min=0)).mean(0)[[0, 5, 6]].mean(0)
    heat = torch.nn.functional.interpolate(tokens[None, None], (40, 60), mode="bicubic")[0, 0].numpy()
    np.testing.assert_allclose(unscaled(scorer.heat(PICTURE, ["the red car"], cache)[0], PICTURE.size), heat, atol=1e-6)
    confidences = np.array([0.9, 0.2, 0.5, 0.4], np.float32)
    for scores in (None, confidences):
        regions = Regions.from_boxes(BOXES, PICTURE.size, scores=scores)
        found = scorer.score(PICTURE, regions, ["the red car"], cache).values[:, 0]
        np.testing.assert_allclose(np.exp(found), box_scores(BOXES, heat, scores).clip(0), rtol=1e-3)


def test_batches_and_order_are_invisible(scorer: HeatInBoxes) -> None:
    regions = Regions.from_boxes(BOXES, PICTURE.size)
    together = scorer.score(PICTURE, regions, TEXTS, FeatureCache()).values
    turned = scorer.score(PICTURE, regions.select([3, 2, 1, 0]), TEXTS[::-1], FeatureCache()).values
    np.testing.assert_allclose(turned[::-1, ::-1], together, atol=1e-3)
    assert scorer.score(PICTURE, regions.select([]), TEXTS, FeatureCache()).values.shape == (0, 3)


def test_what_has_no_heat_is_absent(scorer: HeatInBoxes) -> None:
    """A detector that trusts nothing leaves nothing to choose, as released."""
    regions = Regions.from_boxes(BOXES, PICTURE.size, scores=np.zeros(4))
    assert (best_regions(scorer.score(PICTURE, regions, TEXTS, FeatureCache()).values) == -1).all()


def test_boxes_alone_will_do() -> None:
    grounder = fovea.load("gvlp-boxes", device="cpu")
    grounding = grounder.explain(PICTURE, "the red car", boxes=BOXES)
    assert grounding.answers[0].provenance.proposals == "given"
    assert grounding.answers[0].mask is None
    assert [step.picture.shape for step in grounding.traces[0].steps] == [(40, 60, 3)] * 2

"""RegionSpot as a scorer: names as they are, expressions among distractors, where regions look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fovea
from fovea.backbones.models import Models
from fovea.backbones.region_spot import RegionSpotModel
from fovea.backbones.region_spot_files import RegionSpotSettings, save_region_spot
from fovea.backbones.sources import MINIS
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.exports.explain import explanation
from fovea.language.primary import resolve_finder
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scorers.region_spot import RegionSpot

PICTURE = open_picture(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
BOXES = np.array([[2, 3, 30, 40], [30, 5, 60, 44], [10, 10, 80, 30]], np.float32)
REGIONS = Regions(BOXES, PICTURE.size)
DISTRACTORS = ["car", "traffic light", "dog", "house"]


@pytest.fixture(scope="module")
def head_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head with random weights between the embedded models."""
    path = tmp_path_factory.mktemp("heads") / "region-spot"
    torch.manual_seed(0)
    head = RegionSpotHead(RegionSpotConfig(256, 256, 96, 1, 8, 32))
    settings = RegionSpotSettings(
        head.config, "mini-clip", 128, "mini-sam", ("a photo of the {}",), names=tuple(DISTRACTORS)
    )
    save_region_spot(head, settings, path)
    return path


@pytest.fixture(scope="module")
def models(head_directory: Path) -> Models:
    return Models(f"{MINIS / 'mini-clip'},{MINIS / 'mini-sam'},{head_directory}", device="cpu")


@pytest.fixture(scope="module")
def model(models: Models) -> RegionSpotModel:
    return models.region_spot


@pytest.fixture
def scorer(model: RegionSpotModel) -> RegionSpot:
    return RegionSpot(model, DISTRACTORS, resolve_finder())


def test_names_go_to_the_bank_unchanged(
    scorer: RegionSpot, model: RegionSpotModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    vectors = model.bank.vectors
    monkeypatch.setattr(model.bank, "vectors", lambda names, progress=None: asked.extend(names) or vectors(names))
    cache = FeatureCache()
    names = ["Traffic_light (red)", "the dog"]
    matrix = scorer.name(PICTURE, REGIONS, names, cache)
    assert asked == names
    assert matrix.texts == tuple(names)
    wanted = model.logit_scale * model.vectors(PICTURE, BOXES, cache) @ vectors(names).T
    np.testing.assert_allclose(matrix.values, wanted, atol=1e-4)
    scorer.name(PICTURE, REGIONS, names, cache)
    assert asked == names


def test_an_expression_is_one_name_among_distractors(scorer: RegionSpot, model: RegionSpotModel) -> None:
    cache = FeatureCache()
    found = scorer.score(PICTURE, REGIONS, ["the red car", "the banana"], cache)
    for column, names in enumerate((["red car", *DISTRACTORS[1:]], ["banana", *DISTRACTORS])):
        logits = model.logit_scale * model.vectors(PICTURE, BOXES, cache) @ model.bank.vectors(names).T
        shares = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(
            np.exp(found.values[:, column]), (shares / shares.sum(1, keepdims=True))[:, 0], atol=1e-4
        )
    sigmoid = RegionSpot(model, DISTRACTORS, resolve_finder(), shares="sigmoid")
    own = scorer.name(PICTURE, REGIONS, ["banana"], cache).values[:, 0]
    values = sigmoid.score(PICTURE, REGIONS, ["the banana"], cache).values[:, 0]
    np.testing.assert_allclose(np.exp(values), 1 / (1 + np.exp(-own.astype(float))), rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("the red car", {"car"}),
        ("a red traffic light", {"traffic light"}),
        ("the dog left of the house", {"dog"}),
        ("the banana", set()),
    ],
)
def test_what_an_expression_is_about_is_no_rival(scorer: RegionSpot, text: str, dropped: set[str]) -> None:
    assert set(DISTRACTORS) - {DISTRACTORS[place] for place in scorer._rivals(text)} == dropped


def test_doubts_are_said(scorer: RegionSpot) -> None:
    matrix = scorer.score(PICTURE, REGIONS, DISTRACTORS, FeatureCache())
    logits = scorer.name(PICTURE, REGIONS, DISTRACTORS, FeatureCache()).values
    for column in range(len(DISTRACTORS)):
        best = int(matrix.values[:, column].argmax())
        assert bool(matrix.notes[column]) == (logits[best].argmax() != column)


def test_nothing_to_score(scorer: RegionSpot) -> None:
    none = Regions.empty(PICTURE.size, "given")
    for regions, texts in ((none, ["a car"]), (REGIONS, [])):
        assert scorer.score(PICTURE, regions, texts, FeatureCache()).values.shape == (len(regions), len(texts))
        assert scorer.name(PICTURE, regions, texts, FeatureCache()).values.shape == (len(regions), len(texts))
    assert scorer.trace(PICTURE, none, ["a car"], FeatureCache()) == []


def test_through_the_door(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    grounder = fovea.load("region-spot", models)
    masks = models.segmenter._model.mask_decoder
    monkeypatch.setattr(masks, "masks", lambda *_: pytest.fail("names need no masks"))
    labels = grounder.label(PICTURE, ["car", "dog"], boxes=BOXES)
    assert [round(sum(score for _, score in one.labels), 5) for one in labels] == [1, 1, 1]
    monkeypatch.undo()
    grounding = grounder.explain(PICTURE, ["the dog", "the car"], boxes=BOXES)
    assert all(answer.mask is not None for answer in grounding.answers)
    assert [len(trace.steps) for trace in grounding.traces] == [3, 3]
    assert grounding.traces[0].steps[0].picture.shape == (60, 90, 3)
    assert "looks" in explanation(grounding)
    single = fovea.load("region-spot-single", models)
    rows = [single.label(PICTURE, ["car", "dog"], boxes=BOXES[[row]])[0].labels for row in range(3)]
    together = single.label(PICTURE, ["car", "dog"], boxes=BOXES)
    np.testing.assert_allclose([one.labels[0][1] for one in together], [row[0][1] for row in rows], atol=1e-4)


def test_models_without_a_head_say_so() -> None:
    with pytest.raises(CheckpointError, match="hold no RegionSpot; name one with --models"):
        fovea.load("region-spot", "mini-vit")

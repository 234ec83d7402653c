"""Mask2Former with small random weights: all queries, the released threshold, boxes of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

import fovea
from fovea.backbones.models import Models
from fovea.backbones.sources import resolve_models
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError, ExpressionError
from fovea.pictures import Picture, open_picture
from fovea.proposers.mask2former import THRESHOLD, Mask2Former, load_mask2former, scaled_size
from fovea.regions import mask_bounds


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=6, num_labels=3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("mask2former")
    Mask2FormerForUniversalSegmentation(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def picture() -> Picture:
    return open_picture(np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8))


@pytest.fixture
def proposer(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Mask2Former:
    # Random weights need no large picture.
    monkeypatch.setattr("fovea.proposers.mask2former._SHORTER", 64)
    return load_mask2former(str(directory))


def test_every_query_is_a_region(proposer: Mask2Former, picture: Picture) -> None:
    cache = FeatureCache()
    found = proposer.propose(picture, cache)
    assert found.source == "mask2former"
    assert found.size == (70, 45)
    assert 0 < len(found) <= 6
    np.testing.assert_array_equal(found.boxes, mask_bounds(found.dense_masks()))
    assert proposer.propose(picture, cache) is found


def test_masks_are_those_of_the_slow_way(proposer: Mask2Former, picture: Picture) -> None:
    width, height = scaled_size(picture.size)
    assert (width, height) == (100, 64)
    small = np.asarray(picture.image.resize((width, height), 2), np.float32)
    values = (small - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    canvas = np.zeros((64, 128, 3), np.float32)
    canvas[:, :width] = values
    with torch.inference_mode():
        output = proposer._model(pixel_values=torch.from_numpy(canvas).permute(2, 0, 1)[None])
    resize = torch.nn.functional.interpolate
    full = resize(output.masks_queries_logits, (64, 128), mode="bilinear")[..., :width]
    expected = (resize(full, (45, 70), mode="bilinear")[0].sigmoid() > THRESHOLD).numpy()
    expected = expected[expected.any((1, 2))]
    found = proposer.propose(picture, FeatureCache()).dense_masks()
    assert (found != expected).mean() < 1e-3


def test_sizes_follow_the_released_predictor() -> None:
    assert scaled_size((640, 480)) == (1067, 800)
    assert scaled_size((2000, 400)) == (1333, 267)


def test_a_blank_picture_shows_nothing(proposer: Mask2Former) -> None:
    assert len(proposer.propose(open_picture(np.zeros((20, 30, 3), np.uint8)), FeatureCache())) == 0


def test_other_models_are_refused(tiny_sam_directory: Path) -> None:
    with pytest.raises(CheckpointError, match="is a sam model, not a Mask2Former"):
        load_mask2former(str(tiny_sam_directory))


def test_a_picture_may_be_searched_by_it(directory: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea.proposers.mask2former._SHORTER", 64)
    assert resolve_models(f"mini-x,{directory}").mask2former == str(directory)
    models = Models("mini", device="cpu")
    models.sources = replace(models.sources, mask2former=str(directory))
    answer = fovea.load("D4", models, search="mask2former").find(picture, "the car")[0]
    assert answer.provenance.proposals == "mask2former"
    assert answer.provenance.grid == ""
    assert answer.mask is not None
    with pytest.raises(ExpressionError, match="no search called 'x'; known are grid, mask2former, told"):
        fovea.load("D4", models, search="x")

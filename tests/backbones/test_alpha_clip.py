"""The encoder with an alpha plane: recorded features and attention, batches, pictures of any size."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fovea.backbones.alpha_clip import AlphaEncoder, load_alpha_clip
from fovea.backbones.framing import Framing
from fovea.backbones.models import Models
from fovea.backbones.sources import MINIS, resolve_models
from fovea.backbones.vit_tokens import VitTokens
from fovea.errors import CheckpointError
from fovea.networks.alpha_clip_weights import build_alpha_clip, config_from_state, save_alpha_clip
from fovea.networks.openai_clip import weights_of
from fovea.training.vocabulary import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "alphaclip"
IO = dict(np.load(GOLDEN / "io.npz"))
PIXELS = np.concatenate([IO["images"][IO["image_index"]], IO["alpha_norm"][IO["alpha_index"]]], axis=1)
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
ALPHAS = RNG.random((5, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> AlphaEncoder:
    state = weights_of(load_file(GOLDEN / "model.safetensors"))
    path = tmp_path_factory.mktemp("recorded")
    # No text is asked of it, so that any tokenizer will do.
    save_alpha_clip(build_alpha_clip(config_from_state(state), state), path, build_tokenizer())
    return load_alpha_clip(str(path))


@pytest.fixture(scope="module")
def encoder(alpha_directory: Path) -> AlphaEncoder:
    return load_alpha_clip(str(alpha_directory))


def test_features_are_those_recorded(recorded: AlphaEncoder) -> None:
    expected = IO["image_features"] / np.linalg.norm(IO["image_features"], axis=1, keepdims=True)
    np.testing.assert_allclose(recorded.encode_pixels(PIXELS), expected, rtol=0, atol=2e-6)
    assert recorded.image_size == 32
    assert recorded.logit_scale == pytest.approx(float(IO["logit_scale"]), rel=1e-5)


def test_attention_is_that_recorded(recorded: AlphaEncoder) -> None:
    rows = len(IO["attn_last"])
    with torch.inference_mode():
        found = VitTokens(recorded._model, "x").last_attention(torch.from_numpy(PIXELS[:rows]))
    np.testing.assert_allclose(found, IO["attn_last"], rtol=0, atol=2e-6)


def test_regions_of_one_picture_share_it(encoder: AlphaEncoder) -> None:
    together = encoder.encode_regions(PICTURES[:1], ALPHAS)
    alone = [encoder.encode_regions(PICTURES[:1], alpha[None])[0] for alpha in ALPHAS]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    repeated = encoder.encode_regions(np.repeat(PICTURES[:1], 5, axis=0), ALPHAS)
    np.testing.assert_allclose(together, repeated, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    many = encoder.encode_regions(PICTURES[np.arange(70) % 5], ALPHAS[np.arange(70) % 5])
    np.testing.assert_allclose(many[65:], encoder.encode_regions(PICTURES, ALPHAS), rtol=0, atol=1e-6)


def test_without_alpha_the_picture_is_meant_as_a_whole(encoder: AlphaEncoder) -> None:
    ones = encoder.encode_regions(PICTURES, np.ones_like(ALPHAS))
    np.testing.assert_allclose(encoder.encode_pictures(PICTURES), ones, rtol=0, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_picture(PICTURES[2]), ones[2], rtol=0, atol=1e-6)


def test_pictures_of_any_size(encoder: AlphaEncoder) -> None:
    picture = RNG.integers(0, 256, (50, 90, 3), dtype=np.uint8)
    embedded = [
        encoder.encode_picture(picture, {"box": [60, 10, 85, 40]}, framing)
        for framing in (None, Framing("crop"), Framing("pad"), Framing("pad", antialias=False, floats=True))
    ]
    assert all(one.shape == (16,) and np.linalg.norm(one) == pytest.approx(1, abs=1e-5) for one in embedded)
    assert np.abs(embedded[0] - encoder.encode_picture(picture)).max() > 1e-3
    np.testing.assert_allclose(
        encoder.encode_picture(PICTURES[1], ALPHAS[1]), encoder.encode_regions(PICTURES[1:2], ALPHAS[1:2])[0], atol=1e-6
    )


def test_attention_has_a_place_for_every_patch(encoder: AlphaEncoder) -> None:
    found = encoder.attention(PICTURES, ALPHAS)
    assert found.shape == (5, 2, 4, 4)
    assert (found.sum((2, 3)) < 1).all()
    np.testing.assert_allclose(found[3:4], encoder.attention(PICTURES[3:4], ALPHAS[3:4]), atol=1e-6)


def test_models_by_role(alpha_directory: Path, tiny_sam_directory: Path, tmp_path: Path) -> None:
    named = resolve_models(f"{alpha_directory},{tiny_sam_directory}")
    assert named.of("alpha") == (str(alpha_directory),)
    assert str(alpha_directory) not in named.clips
    assert resolve_models("someone/Alpha-CLIP-L14").alphas == ("someone/Alpha-CLIP-L14",)
    shutil.copytree(alpha_directory, tmp_path / "all" / "alpha")
    both = Models(f"{tmp_path / 'all'},{alpha_directory}", device="cpu")
    assert len(both.alphas) == 2
    assert both.alphas[0] is both.alphas[0]
    with pytest.raises(CheckpointError, match="hold no CLIP with an alpha plane; name one with --models"):
        _ = Models(str(MINIS / "mini-clip")).alphas


def test_a_plain_clip_is_loaded_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plain = load_alpha_clip(str(MINIS / "mini-clip"))
    assert "mini-clip has no trained alpha plane: it ignores all masks" in caplog.text
    assert not plain.has_trained_alpha


@pytest.mark.parametrize("name", ["mini-clip-resnet", "mini-sam", "none"])
def test_other_models_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"not a CLIP|not on this machine"):
        load_alpha_clip(str(MINIS / name) if name != "none" else "nobody/none")

"""Attention of a small random Stable Diffusion in the real layout, against the layers' own weights."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fovea.backbones.diffusion import Denoising, StableDiffusion, load_diffusion
from fovea.backbones.models import Models
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.errors import CheckpointError, MissingExtraError

PIXELS = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tiny_diffusion_directory: Path) -> StableDiffusion:
    return load_diffusion(str(tiny_diffusion_directory))


def test_pictures_are_read_at_twice_the_side_that_was_learnt(model: StableDiffusion) -> None:
    assert (model.image_size, model.grid) == (128, 4)
    assert model.encode(PIXELS).shape == (1, 4, 16, 16)
    # The last tenth of twenty steps.
    assert model._times().tolist() == [51, 1]


def test_outputs_are_those_of_the_library(model: StableDiffusion, tiny_diffusion_directory: Path) -> None:
    from diffusers import UNet2DConditionModel

    theirs = UNet2DConditionModel.from_pretrained(tiny_diffusion_directory, subfolder="unet")
    latent, states = model.encode(PIXELS), model._states("the red car")
    with torch.no_grad():
        expected = theirs(latent, 51, states).sample
        np.testing.assert_allclose(model._unet(latent, 51, states).sample, expected, atol=1e-5)


def _hooked(model: StableDiffusion, seen: list[tuple[Tensor, Tensor]]) -> Iterator[Any]:
    """Records queries and keys of the layers that see texts."""
    for name, layer in model._unet.named_modules():
        if name.endswith("attn2"):
            queries: list[Tensor] = []
            yield layer.to_q.register_forward_hook(lambda _, __, out, queries=queries: queries.append(out))
            yield layer.to_k.register_forward_hook(
                lambda _, __, out, queries=queries: seen.append((queries.pop(), out))
            )


def test_attention_is_the_mean_over_steps_layers_and_heads(model: StableDiffusion) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    latent = model.encode(PIXELS)
    hooks = list(_hooked(model, seen))
    found = model.attention(latent, "the red car", 1)
    for hook in hooks:
        hook.remove()
    maps = []
    for queries, keys in seen:
        if queries.shape[1] == 16:
            # The sentence comes last in a batch; two heads of four channels; the third token is "red".
            for head in (slice(0, 4), slice(4, 8)):
                logits = queries[-1, :, head] @ keys[-1, :, head].T / 2
                maps.append(logits.softmax(-1)[:, 2].view(4, 4))
    assert len(maps) >= 2 * 2
    np.testing.assert_allclose(found, torch.stack(maps).mean(0), atol=1e-6)
    np.testing.assert_array_equal(model.attention(latent, "the red car", 1), found)
    assert np.abs(model.attention(latent, "the red car", 2) - found).max() > 1e-5
    assert np.abs(model.attention(model.encode(PIXELS[::-1]), "the red car", 1) - found).max() > 1e-5


def test_long_texts_end_where_the_model_stops_reading(model: StableDiffusion) -> None:
    length = model._text_encoder.config.max_position_embeddings
    assert [model._token("a red car", word) for word in range(3)] == [1, 2, 3]
    assert model._token("car " * 300, 299) == length - 2
    assert model.attention(model.encode(PIXELS), "car " * 300, 299).shape == (4, 4)


def test_more_noise_moves_attention(model: StableDiffusion) -> None:
    noisier = StableDiffusion(
        model._unet, model._vae, model._text_encoder, model._tokenizer, model._scheduler, "x", Denoising(strength=0.3)
    )
    assert len(noisier._times()) == 6
    latent = model.encode(PIXELS)
    assert np.abs(noisier.attention(latent, "a car", 1) - model.attention(latent, "a car", 1)).max() > 1e-6
    assert noisier.key != model.key


def test_a_directory_is_known_by_its_index(tiny_diffusion_directory: Path, tmp_path: Path) -> None:
    """No package is needed for that."""
    assert resolve_models(str(tiny_diffusion_directory)).diffusion == str(tiny_diffusion_directory)
    copy = tmp_path / "diffusion"
    shutil.copytree(tiny_diffusion_directory, copy)
    assert resolve_models(str(tmp_path)).diffusion == str(copy)
    before = fingerprint(str(copy))
    assert before == fingerprint(str(tiny_diffusion_directory))
    weights = next((copy / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert fingerprint(str(copy)) != before
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_diffusion(str(copy))


def test_names_of_the_hub() -> None:
    assert resolve_models("some/stable-diffusion-v1-5").diffusion == "some/stable-diffusion-v1-5"
    assert resolve_models("mini").of("diffusion") == ("stable-diffusion-v1-5/stable-diffusion-v1-5",)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"a diffusion model needs an optional package; .*\[diffusion\]"):
        _ = Models("mini", device="cpu").diffusion

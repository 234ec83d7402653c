"""Layouts of Alpha-CLIP against what the reference computes from the same files (golden/alphaclip)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel

from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import add_alpha
from fovea.networks.alpha_clip_weights import (
    TowerSizes,
    build_alpha_clip,
    config_from_state,
    has_trained_alpha,
    read_alpha_clip,
    save_alpha_clip,
    with_texts_of,
)
from fovea.networks.openai_clip import ALPHA_KEY, weights_of
from fovea.training.vocabulary import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "alphaclip"
IO = dict(np.load(GOLDEN / "io.npz"))
# The recorded arrays were computed by another program: the last bits differ.
CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


def stored(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def built(content: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> CLIPModel:
    state = weights_of(content)
    if base is not None:
        state = with_texts_of(weights_of(base), state)
    return build_alpha_clip(config_from_state(state), state)


def seen(model: CLIPModel, images: np.ndarray, *alpha: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        pixels = torch.from_numpy(np.concatenate([images, *alpha], axis=1))
        return np.asarray(model.get_image_features(pixel_values=pixels).pooler_output.numpy())


@pytest.fixture(scope="module")
def whole() -> CLIPModel:
    return built(stored("model"))


def test_features_states_and_logits_of_a_whole_file(whole: CLIPModel) -> None:
    pixels = torch.from_numpy(
        np.concatenate([IO["images"][IO["image_index"]], IO["alpha_norm"][IO["alpha_index"]]], axis=1)
    )
    with torch.inference_mode():
        output = whole(input_ids=torch.from_numpy(IO["input_ids"]), pixel_values=pixels, output_hidden_states=True)
        vision = whole.vision_model(pixels, output_hidden_states=True)
    rows = len(IO["hidden_states"])
    np.testing.assert_allclose(vision.hidden_states[0][:rows], IO["embeddings"], **CLOSE)
    states = torch.stack(vision.hidden_states[1:], dim=1)
    np.testing.assert_allclose(states[:rows], IO["hidden_states"], **CLOSE)
    np.testing.assert_allclose(vision.last_hidden_state, IO["last_hidden_state"], **CLOSE)
    np.testing.assert_allclose(vision.pooler_output, IO["cls_post"], **CLOSE)
    np.testing.assert_allclose(seen(whole, pixels.numpy()), IO["image_features"], **CLOSE)
    texts = output.text_model_output.last_hidden_state
    np.testing.assert_allclose(texts, IO["text_last_hidden_state"], **CLOSE)
    # The temperature is 100.
    np.testing.assert_allclose(output.logits_per_image, IO["logits_per_image"], rtol=0, atol=2e-4)
    np.testing.assert_allclose(output.logits_per_text, IO["logits_per_text"], rtol=0, atol=2e-4)


def test_an_alpha_of_a_half_is_neutral(whole: CLIPModel) -> None:
    neutral = np.zeros_like(IO["images"][:, :1])
    np.testing.assert_allclose(seen(whole, IO["images"], neutral), IO["image_features_no_alpha"], **CLOSE)


def renamed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "visual.", "module.", "module.visual."])
@pytest.mark.parametrize("underscored", [False, True])
def test_a_picture_tower_joins_its_base_in_every_layout(prefix: str, underscored: bool) -> None:
    recorded = np.load(GOLDEN / "two_file_load.npz")
    tower = stored("alpha_visual")
    if underscored:
        tower = {key.replace("in_proj.", "in_proj_"): value for key, value in tower.items()}
    model = built({"state_dict": renamed(tower, prefix)}, stored("openai_base"))
    found = seen(model, recorded["images"], recorded["alpha_norm"])
    np.testing.assert_allclose(found, recorded["alpha_image_features"], **CLOSE)
    with torch.inference_mode():
        texts = model.get_text_features(input_ids=torch.from_numpy(recorded["input_ids"])).pooler_output
    np.testing.assert_allclose(texts, recorded["text_features"], **CLOSE)
    cosines = (found / np.linalg.norm(found, axis=1, keepdims=True)) @ torch.nn.functional.normalize(texts).numpy().T
    scale = float(model.logit_scale.detach().exp())
    np.testing.assert_allclose(scale * cosines, recorded["alpha_logits_per_image"], rtol=0, atol=2e-4)


def test_a_base_alone_ignores_alpha() -> None:
    recorded = np.load(GOLDEN / "two_file_load.npz")
    model = built(stored("openai_base"))
    assert not has_trained_alpha(model)
    for alpha in (recorded["alpha_norm"], -recorded["alpha_norm"]):
        np.testing.assert_allclose(seen(model, recorded["images"], alpha), recorded["base_image_features"], **CLOSE)


def test_adapters_are_merged() -> None:
    recorded = np.load(GOLDEN / "lora_io.npz")
    model = built(stored("lora_visual"), stored("openai_base"))
    found = seen(model, recorded["images"], recorded["alpha_norm"])
    np.testing.assert_allclose(found, recorded["image_features"], **CLOSE)
    assert np.abs(found - recorded["image_features_if_lora_ignored"]).max() > 0.1
    layer = model.vision_model.encoder.layers[0]
    fused = torch.cat([getattr(layer.self_attn, f"{letter}_proj").weight for letter in "qkv"])
    np.testing.assert_allclose(fused.detach(), recorded["merged_in_proj_weight_0"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(layer.mlp.fc1.weight[:16].detach(), recorded["merged_c_fc_weight_0"], rtol=0, atol=1e-6)


def test_half_precision_counts_alike(whole: CLIPModel) -> None:
    halves = {key: value.half() for key, value in stored("model").items()}
    found = seen(built(halves), IO["images"], IO["alpha_norm"][:2])
    np.testing.assert_allclose(found, seen(whole, IO["images"], IO["alpha_norm"][:2]), rtol=0, atol=5e-3)


def test_directories_keep_every_weight_and_transformers_reads_them(whole: CLIPModel, tmp_path: Path) -> None:
    save_alpha_clip(whole, tmp_path / "new", build_tokenizer())
    again = read_alpha_clip(tmp_path / "new")
    assert has_trained_alpha(again)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    plain, report = CLIPModel.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert set(report["unexpected_keys"]) == {ALPHA_KEY}
    assert not report["missing_keys"]
    # What is written has nothing random left.
    assert torch.equal(plain.logit_scale, whole.logit_scale)
    plain.save_pretrained(tmp_path / "plain")
    assert not has_trained_alpha(read_alpha_clip(tmp_path / "plain"))
    assert add_alpha(again) is again.vision_model.embeddings.patch_embedding


def test_a_wrong_base_is_named_by_what_differs() -> None:
    large = TowerSizes(1024, 14, 577, 24, 768)
    with pytest.raises(CheckpointError, match="577 positions belong to ViT-L/14@336, this base has 257, ViT-L/14;"):
        large.check_base(TowerSizes(1024, 14, 257, 24, 768))
    with pytest.raises(CheckpointError, match=r"1024 channels belong to .*openai/clip-vit-large-patch14-336"):
        large.check_base(TowerSizes(768, 16, 197, 12, 512))
    with pytest.raises(CheckpointError, match="64 channels belong to the checkpoint, this base has 128"):
        built(stored("alpha_visual"), stored("model"))
    with pytest.raises(CheckpointError, match="no text tower"):
        built(stored("alpha_visual"), stored("alpha_visual"))


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state: dict[str, Any] = {**stored("model"), **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(visual__ln_pre__bias=None), "lack vision_model.pre_layrnorm.bias"),
        (changed(visual__proj=None), "lack visual_projection"),
        (changed(token_embedding__weight=None), "lack text_model.embeddings.token_embedding"),
        (changed(visual__odd=torch.zeros(1)), "no CLIP has: visual.odd"),
        (changed(visual__ln_pre__bias=torch.zeros(3)), r"shape \(3,\) and should have \(128,\)"),
        (changed(visual__conv1_alpha__weight=torch.zeros(128, 1, 4, 4)), "patch_embedding_alpha"),
        (changed(visual__class_embedding=None), "no vision transformer"),
        ({"model": "text"}, "no state dict"),
        (
            {k: v for k, v in stored("lora_visual").items() if not k.endswith("c_fc.lora_A")},
            "adapter of .*c_fc is not whole",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        built(content)

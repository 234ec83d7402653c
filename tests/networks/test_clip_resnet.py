"""The modified ResNet against arrays recorded from the reference implementation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig, config_from_state, hugging_face_text_tower

GOLDEN = Path(__file__).parents[1] / "golden" / "clip_resnet"


@pytest.fixture(scope="module")
def model() -> ClipResnet:
    sizes = json.loads((GOLDEN / "config.json").read_text())
    heads = sizes.pop("vision_heads")
    config = ClipResnetConfig(**{**sizes, "layers": tuple(sizes["layers"])})
    assert config.vision_heads == heads
    model = ClipResnet(config).eval()
    state = {key: value.float() for key, value in load_file(GOLDEN / "model.safetensors").items()}
    model.load_state_dict(state, strict=True)
    return model


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(GOLDEN / "io.safetensors").items()}


def test_stages_match(model: ClipResnet, io: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        for index, stage in enumerate(model.visual.stages(io["pixels"]), start=1):
            # Stage outputs are stored in half precision when they are large, hence the relative term.
            torch.testing.assert_close(stage, io[f"after_layer{index}"], atol=1e-4, rtol=1e-3)


def test_embeddings_and_logits_match(model: ClipResnet, io: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_image(io["pixels"]), io["image_features"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.encode_text(io["ids"]), io["text_features"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model(io["pixels"], io["ids"]), io["logits_per_image"], atol=1e-4, rtol=1e-4)


def test_trailing_padding_does_not_change_a_text(model: ClipResnet, io: dict[str, torch.Tensor]) -> None:
    row = io["ids"][:1]
    end = int(row.argmax()) + 1
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_text(row[:, :end]), io["text_features"][:1], atol=1e-4, rtol=1e-4)


def test_sizes_are_read_off_a_state_dict(model: ClipResnet) -> None:
    found = config_from_state(model.state_dict())
    # Heads of the text tower leave no trace in the shapes; released files have one for every 64 channels.
    assert found.text_heads == max(1, model.config.text_width // 64)
    assert {**found.__dict__, "text_heads": 0} == {**model.config.__dict__, "text_heads": 0}


def test_pooled_embedding_is_a_mix_of_the_places() -> None:
    """With equal attention everywhere the pooled embedding is the mean of mean token and places."""
    config = ClipResnetConfig((1, 1, 1, 1), 8, 64, 16, 8, 20, 32, 2, 1)
    model = ClipResnet(config).eval()
    torch.nn.init.zeros_(model.visual.attnpool.q_proj.weight)
    torch.nn.init.zeros_(model.visual.attnpool.q_proj.bias)
    torch.nn.init.zeros_(model.visual.attnpool.positional_embedding)
    with torch.inference_mode():
        pooled, places = model.visual(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(pooled, places.mean(1), atol=1e-5, rtol=1e-4)


def test_the_converted_text_tower_says_the_same() -> None:
    torch.manual_seed(0)
    config = ClipResnetConfig((1, 1, 1), 8, 32, 24, 9, 50, 32, 2, 2)
    ours = ClipResnet(config).eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 9,
        "eos_token_id": 49,
    }
    theirs = CLIPModel(CLIPConfig(projection_dim=24, text_config=sizes)).eval()
    report = theirs.load_state_dict(hugging_face_text_tower(ours.state_dict()), strict=False)
    assert not [key for key in report.missing_keys if key.startswith("text_")]
    assert not report.unexpected_keys
    ids = torch.tensor([[48, 3, 7, 49, 0, 0], [48, 5, 5, 9, 2, 49]])
    with torch.no_grad():
        torch.testing.assert_close(theirs.get_text_features(ids).pooler_output, ours.encode_text(ids))

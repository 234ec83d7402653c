"""ALBEF's network against arrays recorded from the reference implementation, and against itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.albef_weights import build_albef, needed_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "iterprime"
LAYER = 2
FORWARDS = ("single/it0", "multi_subtoken/it0", "no_primary/it0", "single/it1")


def golden_config() -> AlbefConfig:
    sizes = json.loads((GOLDEN / "cases.json").read_text())["config"]
    return AlbefConfig(
        image_size=(sizes["image_size"],) * 2,
        patch_size=sizes["patch_size"],
        vision_width=sizes["vision_width"],
        vision_depth=sizes["vision_depth"],
        vision_heads=sizes["vision_heads"],
        vision_mlp_width=4 * sizes["vision_width"],
        vocab_size=sizes["vocab_size"],
        max_positions=sizes["max_position"],
        hidden_size=sizes["hidden_size"],
        depth=sizes["num_layers"],
        num_heads=sizes["num_heads"],
        intermediate_size=sizes["intermediate_size"],
        fusion_layer=sizes["fusion_layer"],
        heat_layer=LAYER,
    )


@pytest.fixture(scope="module")
def model() -> Albef:
    state = needed_weights(load_file(GOLDEN / "albef_tiny.safetensors"))
    return build_albef(golden_config(), state).requires_grad_(False)


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "forward_pwem_igrs.npz").items()}


def case_of(name: str) -> dict[str, int]:
    cases = json.loads((GOLDEN / "cases.json").read_text())["cases"]
    found: dict[str, int] = next(case for case in cases if case["name"] == name.split("/")[0])
    return found


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", FORWARDS)
def test_attention_and_gradient_match(model: Albef, recorded: dict[str, torch.Tensor], name: str) -> None:
    case = case_of(name)
    tokens = model.encode_image(recorded["images"][case["image"]][None])
    states = model.encode_text(recorded["input_ids"][case["text"]][None])
    image = model.image_keys_values(tokens)
    visible = recorded[f"{name}/cross_mask"].bool()
    glance = model.glance(states, image, LAYER, image_mask=visible)
    torch.testing.assert_close(glance.logits, recorded[f"{name}/itm_logits"], atol=1e-5, rtol=0)
    torch.testing.assert_close(glance.attention, recorded[f"{name}/attn"], atol=1e-5, rtol=0)
    assert relative(glance.gradient, recorded[f"{name}/attn_grad"]) < 1e-4
    if f"{name}/image_embeds" in recorded:
        torch.testing.assert_close(tokens, recorded[f"{name}/image_embeds"], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            model.fuse(states, image, image_mask=visible), recorded[f"{name}/last_hidden"], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("layer", [2, 3])
def test_a_padded_batch_of_two_pictures_matches(model: Albef, recorded: dict[str, torch.Tensor], layer: int) -> None:
    mask = recorded["batch/attention_mask"].bool()
    tokens = model.encode_image(recorded["images"][:2])
    torch.testing.assert_close(tokens, recorded["batch/image_embeds"], atol=1e-5, rtol=0)
    states, image = model.encode_text(recorded["batch/input_ids"], mask), model.image_keys_values(tokens)
    glance = model.glance(states, image, layer, mask)
    torch.testing.assert_close(glance.logits, recorded["batch/itm_logits"], atol=1e-5, rtol=0)
    torch.testing.assert_close(glance.attention, recorded[f"batch/layer{layer}/attn"], atol=1e-5, rtol=0)
    assert relative(glance.gradient, recorded[f"batch/layer{layer}/attn_grad"]) < 1e-4
    fused = model.fuse(states, image, mask)
    torch.testing.assert_close(fused, recorded["batch/last_hidden"], atol=1e-5, rtol=0)


def test_the_mask_reaches_the_picture(model: Albef, recorded: dict[str, torch.Tensor]) -> None:
    """A hidden patch gets no attention, in no layer, and what it shows no longer matters."""
    pixels, ids = recorded["images"][:1], recorded["input_ids"][:1]
    visible = torch.ones(1, 17, dtype=torch.bool)
    visible[0, [4, 9]] = False
    assert not torch.allclose(model(pixels, ids), model(pixels, ids, image_mask=visible), atol=1e-3)
    states, tokens = model.encode_text(ids), model.encode_image(pixels)
    for layer in model.config.fusion_layers:
        glance = model.glance(states, model.image_keys_values(tokens), layer, image_mask=visible)
        assert (glance.attention[..., [4, 9]] == 0).all()
    other = tokens.clone()
    other[:, [4, 9]] = 7.0
    torch.testing.assert_close(
        model.fuse(states, model.image_keys_values(other), image_mask=visible),
        model.fuse(states, model.image_keys_values(tokens), image_mask=visible),
    )


def test_texts_of_one_picture_in_one_batch_equal_one_by_one(model: Albef, recorded: dict[str, torch.Tensor]) -> None:
    lengths, generator = [12, 5, 1, 8], torch.Generator().manual_seed(0)
    ids = recorded["input_ids"].clone()
    mask = torch.arange(12)[None] < torch.tensor(lengths)[:, None]
    ids[~mask] = 0
    visible = torch.rand(4, 17, generator=generator) < 0.6
    visible[:, 0] = True
    image = model.image_keys_values(model.encode_image(recorded["images"][2:3]))
    together = model.glance(model.encode_text(ids, mask), image, LAYER, mask, visible)
    for row, length in enumerate(lengths):
        states = model.encode_text(ids[row : row + 1, :length])
        alone = model.glance(states, image, LAYER, image_mask=visible[row : row + 1])
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.attention[row, :, :length], alone.attention[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.gradient[row, :, :length], alone.gradient[0], atol=1e-5, rtol=0)
        # Padding is no query that the match depends on.
        assert (together.gradient[row, :, length:] == 0).all()


def test_only_what_lies_behind_the_layer_is_differentiated(recorded: dict[str, torch.Tensor]) -> None:
    """A model in training keeps its gradients to itself, and its graph holds nothing of the picture tower."""
    model = build_albef(golden_config(), needed_weights(load_file(GOLDEN / "albef_tiny.safetensors")))
    model.requires_grad_(True)
    image = model.image_keys_values(model.encode_image(recorded["images"][:1]))
    glance = model.glance(model.encode_text(recorded["input_ids"][:1]), image, LAYER)
    assert not glance.gradient.requires_grad
    assert not glance.attention.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_all_weights_learn(recorded: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = Albef(golden_config())
    model(recorded["images"][:2], recorded["input_ids"][:2]).logsumexp(1).sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not idle


def test_a_layer_that_sees_no_picture_is_refused(model: Albef, recorded: dict[str, torch.Tensor]) -> None:
    image = model.image_keys_values(model.encode_image(recorded["images"][:1]))
    with pytest.raises(ValueError, match="layer 1"):
        model.glance(model.encode_text(recorded["input_ids"][:1]), image, 1)
    with pytest.raises(ValueError, match="layer 1"):
        AlbefConfig(**{**golden_config().__dict__, "heat_layer": 1})


def test_a_picture_need_not_be_square() -> None:
    config = AlbefConfig(
        **{**golden_config().__dict__, "image_size": (32, 64), "vision_depth": 1},
    )
    model = Albef(config).eval()
    assert config.grid == (2, 4)
    image = model.image_keys_values(model.encode_image(torch.zeros(1, 3, 32, 64)))
    glance = model.glance(model.encode_text(torch.tensor([[1, 2, 3]])), image, LAYER)
    assert glance.attention.shape == (1, 4, 3, 9)


def test_settings_survive_a_file() -> None:
    config = golden_config()
    assert AlbefConfig.from_json(json.loads(json.dumps(config.to_json()))) == config

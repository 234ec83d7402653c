"""Inside of picture towers, against the slow obvious way: transformers' own blocks, one region at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from fovea.backbones.clip import ClipEncoder, _HuggingFaceTowers, _ResnetTowers
from fovea.backbones.inner import ActivationEncoder, InnerEncoder
from fovea.errors import CheckpointError
from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer

SIDE, GRID = 32, 4
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
INSIDE = RNG.random((5, GRID, GRID)) < 0.4
INSIDE[3], INSIDE[4] = True, False
COVERAGE = (RNG.random((5, GRID, GRID)) * (RNG.random((5, GRID, GRID)) < 0.6)).astype(np.float32)


def sizes(depth: int, **more: int) -> dict[str, int]:
    return {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": depth, "num_attention_heads": 2, **more}


def encoder(kind: str, depth: int = 6) -> tuple[ClipEncoder, Any]:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    text = sizes(1, vocab_size=len(tokenizer), max_position_embeddings=CONTEXT_LENGTH, pad_token_id=0)
    vision = sizes(depth, image_size=SIDE, patch_size=SIDE // GRID)
    if kind == "resnet":
        model: Any = ClipResnet(ClipResnetConfig((1, 1), 8, SIDE, 16, CONTEXT_LENGTH, len(tokenizer), 32, 2, 1))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1) if parameter.ndim > 1 else torch.nn.init.ones_(parameter)
        towers: Any = _ResnetTowers(model)
    elif kind == "clip":
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "vision" in name:
                # At the spread of a fresh model all tokens look alike.
                torch.nn.init.normal_(parameter, std=0.3)
        towers = _HuggingFaceTowers(model)
    else:
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        towers = _HuggingFaceTowers(model)
    made = ClipEncoder(model, towers, tokenizer, name=kind, image_size=SIDE, logit_scale=10.0)
    return made, model


def project(model: Any, states: torch.Tensor) -> np.ndarray:
    return np.asarray(model.visual_projection(model.vision_model.post_layernorm(states[:, 0])).numpy())


@torch.inference_mode()
def masked_slowly(made: ClipEncoder, model: Any, coverage: np.ndarray, first: int) -> np.ndarray:
    """Every region alone, through the blocks as transformers runs them."""
    vision, rows = model.vision_model, []
    for mask in torch.from_numpy(coverage):
        states = vision.pre_layrnorm(vision.embeddings(made.tensor(PICTURE[None])))
        for index, block in enumerate(vision.encoder.layers):
            if index >= first:
                states = torch.cat([states[:, :1], states[:, 1:] * mask.reshape(1, -1, 1)], dim=1)
            states = block(states, None)
        rows.append(project(model, states))
    return np.concatenate(rows)


@torch.inference_mode()
def inside_slowly(made: ClipEncoder, model: Any, inside: np.ndarray) -> np.ndarray:
    """Every region alone: its copy of the class token stands behind all tokens, under a full attention mask."""
    vision, rows = model.vision_model, []
    for mask in torch.from_numpy(inside):
        states = vision.pre_layrnorm(vision.embeddings(made.tensor(PICTURE[None])))
        states = torch.cat([states, states[:, :1]], dim=1)
        count = states.shape[1]
        allowed = torch.ones(count, count, dtype=torch.bool)
        allowed[:-1, -1] = False
        allowed[-1, 0] = False
        allowed[-1, 1:-1] = mask.flatten()
        hidden = torch.zeros(1, 1, count, count).masked_fill(~allowed, torch.finfo(torch.float32).min)
        for block in vision.encoder.layers:
            states = block(states, hidden)
        rows.append(project(model, states[:, -1:]))
    return np.concatenate(rows)


@pytest.mark.parametrize(("depth", "first"), [(12, 9), (6, 4), (2, 1)])
def test_masked_features_are_those_of_plain_blocks(depth: int, first: int) -> None:
    made, model = encoder("clip", depth)
    found = InnerEncoder(made).masked(PICTURE, COVERAGE)
    np.testing.assert_allclose(found, masked_slowly(made, model, COVERAGE, first), atol=2e-4, rtol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_region_tokens_are_those_of_a_full_attention_mask() -> None:
    made, model = encoder("clip")
    found = InnerEncoder(made).inside(PICTURE, INSIDE)
    np.testing.assert_allclose(found, inside_slowly(made, model, INSIDE), atol=2e-4, rtol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_region_tokens_see_nothing_outside() -> None:
    """Of one block: in deeper ones, places inside have looked around themselves."""
    made, _ = encoder("clip", 1)
    patch = SIDE // GRID
    outside = np.kron(~INSIDE[0], np.ones((patch, patch), bool))
    other = np.where(outside[..., None], 255 - PICTURE, PICTURE)
    first, second = (InnerEncoder(made).inside(picture, INSIDE[:2]) for picture in (PICTURE, other))
    np.testing.assert_allclose(first[0], second[0], atol=1e-5)
    assert np.abs(first[1] - second[1]).max() > 1e-3


@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_everything_inside_is_the_plain_embedding(kind: str) -> None:
    made, _ = encoder(kind)
    plain = made.encode_pictures(PICTURE[None], unit=False)[0]
    found = InnerEncoder(made).inside(PICTURE, INSIDE)
    np.testing.assert_allclose(found[3], plain, atol=1e-4, rtol=1e-4)
    assert np.isfinite(found[4]).all(), "nothing inside is no reason to fail"
    if kind == "clip":
        np.testing.assert_allclose(
            InnerEncoder(made).masked(PICTURE, np.ones((1, GRID, GRID), np.float32))[0], plain, atol=1e-4, rtol=1e-4
        )


@torch.inference_mode()
def test_masked_features_of_a_resnet() -> None:
    made, model = encoder("resnet")
    features = normalize(model.visual.stages(made.tensor(PICTURE[None]))[-1], dim=1)
    found = InnerEncoder(made).masked(PICTURE, COVERAGE)
    for row, mask in zip(found, torch.from_numpy(COVERAGE), strict=True):
        np.testing.assert_allclose(row, model.visual.attnpool(features * mask)[0][0].numpy(), atol=1e-5)
    with pytest.raises(CheckpointError, match="no vision transformer"):
        ActivationEncoder(made)


@torch.inference_mode()
def test_region_tokens_of_a_resnet_pool_what_is_inside() -> None:
    """The places outside are taken away, with their positions, and the rest is pooled as ever."""
    made, model = encoder("resnet")
    pool = model.visual.attnpool
    features = model.visual.stages(made.tensor(PICTURE[None]))[-1][0].flatten(1).T
    found = InnerEncoder(made).inside(PICTURE, INSIDE)
    for row, inside in zip(found[:3], torch.from_numpy(INSIDE).flatten(1), strict=False):
        tokens = torch.cat([features[inside].mean(0, keepdim=True), features[inside]])
        tokens = tokens + pool.positional_embedding[torch.cat([torch.tensor([True]), inside])]
        query, keys, values = pool.q_proj(tokens[:1]), pool.k_proj(tokens), pool.v_proj(tokens)
        width = keys.shape[1] // pool.heads
        mixed = [
            (query[:, cut] @ keys[:, cut].T / width**0.5).softmax(-1) @ values[:, cut]
            for cut in (slice(head * width, (head + 1) * width) for head in range(pool.heads))
        ]
        np.testing.assert_allclose(row, pool.c_proj(torch.cat(mixed, 1))[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_batches_and_order_are_invisible(kind: str) -> None:
    inner = InnerEncoder(encoder(kind)[0])
    many = RNG.random((40, GRID, GRID)).astype(np.float32)
    for ask, masks in ((inner.masked, many), (inner.inside, many > 0.5)):
        together, turned = ask(PICTURE, masks), ask(PICTURE, masks[::-1].copy())
        np.testing.assert_allclose(turned[::-1], together, atol=1e-4)
        np.testing.assert_allclose(ask(PICTURE, masks[7:8])[0], together[7], atol=1e-4)
        assert ask(PICTURE, masks[:0]).shape == (0, together.shape[1])


def test_half_precision_agrees() -> None:
    made, model = encoder("clip")
    full = InnerEncoder(made).inside(PICTURE, INSIDE)
    half = ClipEncoder(
        model.to(torch.bfloat16), _HuggingFaceTowers(model), build_tokenizer(), name="half", image_size=SIDE,
        logit_scale=10.0,
    )  # fmt: skip
    found = InnerEncoder(half).inside(PICTURE, INSIDE)
    cosine = (full * found).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.98


def test_a_tower_without_class_token_is_one_clear_error() -> None:
    with pytest.raises(CheckpointError, match="siglip has no class token"):
        InnerEncoder(encoder("siglip")[0])


def test_activation_is_grad_cam_by_hooks() -> None:
    """A full backward pass through transformers' own model, its last normalisation hooked; attention as it reports."""
    made, model = encoder("clip", 6)
    rows = torch.nn.functional.normalize(torch.from_numpy(RNG.normal(size=(11, 16))).float(), dim=-1)
    texts, background = rows[:4], rows[4:]
    found = ActivationEncoder(made)(PICTURE, texts.numpy(), background.numpy())
    assert found.maps.shape == (4, GRID, GRID)
    assert (found.maps.max((1, 2)) > 1e-4).sum() >= 2
    model.set_attn_implementation("eager")
    model.requires_grad_(True)
    kept: dict[str, torch.Tensor] = {}

    def keep(_: Any, __: Any, output: torch.Tensor) -> None:
        kept["normed"] = output
        output.retain_grad()

    for number, text in enumerate(texts):
        handle = model.vision_model.encoder.layers[-1].layer_norm1.register_forward_hook(keep)
        output = model.vision_model(made.tensor(PICTURE[None]), output_attentions=True)
        handle.remove()
        places = model.vision_model.post_layernorm(output.last_hidden_state)[:, 1:].mean(1)
        seen = torch.nn.functional.normalize(model.visual_projection(places), dim=-1)
        (10 * seen @ torch.cat([text[None], background]).T).softmax(-1)[0, 0].backward()
        normed, gradient = kept["normed"].detach()[0, 1:], kept["normed"].grad[0, 1:]
        expected = (normed * gradient.mean(0)).sum(-1).clamp(min=0).reshape(GRID, GRID)
        np.testing.assert_allclose(found.maps[number], expected.numpy(), atol=1e-5, rtol=1e-3)
    attention = torch.stack(output.attentions[-4:]).mean((0, 2))[0, 1:, 1:]
    np.testing.assert_allclose(found.attention, attention.detach().numpy(), atol=1e-5)

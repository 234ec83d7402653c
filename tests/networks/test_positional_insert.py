"""The positional insert, against recorded arrays, and in tiny random hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fovea.errors import CheckpointError
from fovea.networks.insert_ports import changed_tokens, inserted
from fovea.networks.positional_insert import InsertConfig, PositionalInsert, sinusoids

GOLDEN = Path(__file__).parents[1] / "golden" / "pin"
ABOUT = json.loads((GOLDEN / "pin_module.json").read_text())


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "pin_module.safetensors")


def test_sinusoids_are_the_recorded_ones(recorded: dict[str, Tensor]) -> None:
    for count, width in ABOUT["tables"]:
        torch.testing.assert_close(sinusoids(torch.arange(count), width), recorded[f"sinusoid/{count}x{width}"])


def test_the_insert_is_the_recorded_one(recorded: dict[str, Tensor]) -> None:
    table, *hidden, width = ABOUT["small"]["dims"]
    insert = PositionalInsert(InsertConfig((4, 4), width, table_width=table, hidden=tuple(hidden)))
    torch.testing.assert_close(insert.pos_enc, recorded["pin/pos_enc"])
    weights = {key.removeprefix("pin/mlp."): value for key, value in recorded.items() if key.startswith("pin/mlp.")}
    insert.mlp.load_state_dict(weights)
    torch.testing.assert_close(insert(), recorded["pin/pi"], atol=1e-5, rtol=0)
    torch.testing.assert_close(recorded["pin/x_v"] + insert(), recorded["pin/x_star"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("host", ["openflamingo", "blip2"])
def test_sizes_are_the_published_ones(host: str) -> None:
    insert = PositionalInsert(InsertConfig((16, 16), ABOUT["default_dims"][host][-1], class_token=host == "blip2"))
    assert sum(weight.numel() for weight in insert.mlp.parameters()) == ABOUT["parameter_counts"][host]
    if host == "openflamingo":
        assert {key: list(value.shape) for key, value in insert.mlp.state_dict().items()} == ABOUT["state_dict_keys"]


def test_tables_tell_places_apart() -> None:
    flat = PositionalInsert(InsertConfig((3, 5), 8, class_token=True, table="2d"))
    rows = flat.pos_enc[0]
    assert rows.shape == (16, 64)
    assert len(torch.unique(rows, dim=0)) == 16
    places = rows[1:].view(3, 5, 64)
    # Half of the channels for rows, half for columns.
    torch.testing.assert_close(places[0, :, :32], places[0, :1, :32].expand(5, -1))
    torch.testing.assert_close(places[:, 0, 32:], places[:1, 0, 32:].expand(3, -1))
    learned = PositionalInsert(InsertConfig((3, 5), 8, learned=True))
    assert learned.pos_enc.requires_grad
    assert learned.pos_enc.abs().max() <= (2 / (15 + 64)) ** 0.5
    assert not PositionalInsert(InsertConfig((3, 5), 8, zero_init=True))().any()


def _vision(**changes: Any) -> dict[str, Any]:
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {**small, "image_size": 32, "patch_size": 8, **changes}


_TEXT = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def _host(kind: str) -> tuple[nn.Module, dict[str, Tensor], int]:
    """A tiny random host, what to feed it, and how many picture tokens it sees."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    torch.manual_seed(3)
    pixels = torch.randn(2, 3, 32, 32)
    if kind in ("blip-2", "instructblip"):
        qformer = {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
            "encoder_hidden_size": 32, "vocab_size": 60,
        }  # fmt: skip
        text = {"model_type": "opt", **_TEXT, "ffn_dim": 48, "word_embed_proj_dim": 32}
        settings = {"vision_config": _vision(), "qformer_config": qformer, "text_config": text, "num_query_tokens": 4}
        config = AutoConfig.for_model(
            "blip-2" if kind == "blip-2" else "instructblip", **settings, image_token_index=59
        )
        ids = torch.tensor([[59] * 4 + [1, 5, 9, 7]] * 2)
        feed = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if kind == "instructblip":
            feed |= {"qformer_input_ids": torch.tensor([[1, 5, 6]] * 2)}
            feed |= {"qformer_attention_mask": torch.ones(2, 3, dtype=torch.long)}
        places = 17
    elif kind == "llava":
        text = {"model_type": "llama", **_TEXT}
        vision = {"model_type": "clip_vision_model", **_vision(projection_dim=16)}
        config = AutoConfig.for_model("llava", vision_config=vision, text_config=text, image_token_index=59)
        ids = torch.tensor([[1] + [59] * 16 + [5, 9, 7]] * 2)
        feed = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        places = 16
    elif kind == "paligemma":
        text = {"model_type": "gemma", **_TEXT, "head_dim": 16}
        vision = {"model_type": "siglip_vision_model", **_vision(projection_dim=32, vision_use_head=False)}
        config = AutoConfig.for_model(
            "paligemma", vision_config=vision, text_config=text, image_token_index=59, projection_dim=32
        )
        ids = torch.tensor([[59] * 16 + [1, 5, 9, 7]] * 2)
        feed = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        places = 16
    elif kind == "idefics2":
        text = {"model_type": "mistral", **_TEXT}
        perceiver = {
            "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 16, "num_key_value_heads": 1,
        }  # fmt: skip
        config = AutoConfig.for_model(
            "idefics2", vision_config=_vision(), text_config=text, perceiver_config=perceiver, image_token_id=59
        )
        ids = torch.tensor([[1] + [59] * 4 + [5, 9, 7]] * 2)
        feed = {"pixel_values": pixels[:, None], "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        places = 16
    else:
        vision = {"embed_dim": 32, **_vision(), "intermediate_size": 48}
        perceiver = {
            "use_resampler": True, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 16,
        }  # fmt: skip
        config = AutoConfig.for_model(
            "idefics",
            vision_config=vision,
            perceiver_config=perceiver,
            cross_layer_interval=1,
            use_resampler=True,
            **_TEXT,
        )
        ids = torch.tensor([[1, 5, 9, 7]] * 2)
        feed = {"pixel_values": pixels[:, None], "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        feed["image_attention_mask"] = torch.ones(2, 4, 1, dtype=torch.long)
        places = 17
    model = AutoModelForImageTextToText.from_config(config).eval()
    for name, weight in model.named_parameters():
        # Gates of cross-attention start closed.
        if "alpha" in name:
            weight.data.fill_(1)
    return model, feed, places


@pytest.mark.parametrize("kind", ["blip-2", "instructblip", "llava", "paligemma", "idefics", "idefics2"])
def test_every_host_sees_the_insert_while_it_is_in(kind: str) -> None:
    model, feed, places = _host(kind)
    grid, class_token = (4, 4), places == 17
    insert = PositionalInsert(InsertConfig(grid, 32, class_token=class_token, hidden=(8,)))
    with torch.no_grad():
        plain = model(**feed).logits
        with inserted(model, insert):
            seen = model(**feed).logits
        assert (seen - plain).abs().max() > 1e-4
        torch.testing.assert_close(model(**feed).logits, plain)
        with inserted(model, PositionalInsert(InsertConfig(grid, 32, class_token=class_token, zero_init=True))):
            torch.testing.assert_close(model(**feed).logits, plain)
    wrong = PositionalInsert(InsertConfig((3, 4), 32, class_token=class_token))
    with pytest.raises(CheckpointError, match=f"made for {wrong.config.places} places"), inserted(model, wrong):
        model(**feed)


@pytest.mark.parametrize("kind", ["blip-2", "llava"])
def test_gradients_reach_the_insert_and_nothing_else(kind: str) -> None:
    model, feed, places = _host(kind)
    model.requires_grad_(False)
    insert = PositionalInsert(InsertConfig((4, 4), 32, class_token=places == 17, hidden=(8,)))
    with inserted(model, insert):
        model(**feed).logits.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in insert.parameters())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("kind", ["blip-2", "llava"])
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_change_with_the_insert(kind: str, beams: int) -> None:
    model, feed, places = _host(kind)
    calls: list[torch.Size] = []

    def change(tokens: Tensor) -> Tensor:
        calls.append(tokens.shape)
        return tokens + 3 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))

    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "num_beams": beams}
    plain = model.generate(**feed, **settings)  # type: ignore[operator]
    with changed_tokens(model, change):
        seen = model.generate(**feed, **settings)  # type: ignore[operator]
    # Once for the whole answer, and for the pictures rather than for their beams.
    assert calls == [torch.Size([2, places, 32])]
    assert not torch.equal(plain, seen)


def test_what_cannot_host_says_so() -> None:
    from transformers import CLIPConfig, CLIPModel

    with (
        pytest.raises(CheckpointError, match="a clip model cannot host an insert"),
        changed_tokens(
            CLIPModel(CLIPConfig(text_config={"num_hidden_layers": 1}, vision_config={"num_hidden_layers": 1})),
            lambda tokens: tokens,
        ),
    ):
        pass

"""Flamingo against what OpenFlamingo's own modules computed with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fovea.networks.flamingo import Flamingo, FlamingoConfig
from fovea.networks.insert_ports import inserted
from fovea.networks.perceiver import AttentionSizes, GatedCrossAttention, PerceiverAttention, PerceiverResampler
from fovea.networks.positional_insert import InsertConfig, PositionalInsert

GOLDEN = Path(__file__).parents[1] / "golden" / "pin"


def part(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def modules() -> dict[str, Tensor]:
    return load_file(GOLDEN / "flamingo_modules.safetensors")


@pytest.mark.parametrize("name", ["perceiver", "perceiver_time"])
@torch.no_grad()
def test_resamplers_are_the_recorded_ones(modules: dict[str, Tensor], name: str) -> None:
    timed = {"most_pictures": 3, "most_frames": 2} if name == "perceiver_time" else {}
    resampler = PerceiverResampler(16, 2, 5, AttentionSizes(2, 8, 2), **timed)
    resampler.load_state_dict(part(modules, f"{name}/state/"))
    close(resampler(modules[f"{name}/x"]), modules[f"{name}/y"])


@torch.no_grad()
def test_latents_look_as_recorded(modules: dict[str, Tensor]) -> None:
    attention = PerceiverAttention(16, AttentionSizes(2, 8))
    attention.load_state_dict(part(modules, "perceiver_attention/state/"))
    found = attention(modules["perceiver_attention/x"], modules["perceiver_attention/latents"])
    close(found, modules["perceiver_attention/y"])


@torch.no_grad()
def test_words_look_as_recorded(modules: dict[str, Tensor]) -> None:
    words, media = modules["gated/x"], modules["gated/media"]
    order = modules["gated/media_locations"].long().cumsum(-1)
    for latest_only, name in ((True, "immediate"), (False, "all_previous")):
        gate = GatedCrossAttention(24, 16, AttentionSizes(3, 8, 2), latest_only)
        gate.load_state_dict(part(modules, "gated/state/"))
        close(gate.look(words, media, order), modules[f"gated/attn_{name}"])
        close(gate(words, media, order), modules[f"gated/y_{name}"])
        close(gate(words, media), modules["gated/y_no_locations"])
        if latest_only:
            close(gate(words[:, :4], media, order[:, -1:].expand(-1, 4)), modules["gated/y_cached_tail4"])
        nn.init.zeros_(gate.attn_gate)
        nn.init.zeros_(gate.ff_gate)
        close(gate(words, media, order), modules["gated/y_gates_zero"])


class Patches(nn.Module):
    """The stand-in tower of the recording: patches, channel-major, through one linear layer."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch, self.proj = patch, nn.Linear(3 * patch * patch, width)

    def forward(self, pixels: Tensor) -> Tensor:
        cut = nn.functional.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        found: Tensor = self.proj(cut)
        return found


class Recorded:
    """One recorded wrapper and what it was fed."""

    def __init__(self, name: str) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        self.about: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
        self.arrays = load_file(GOLDEN / f"{name}.safetensors")
        about = self.about
        lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(about["lm"], **about["lm_config"]))
        lm.load_state_dict(part(self.arrays, "lm/"), strict=False)
        resampler, gated = about["perceiver"], about["xattn"]
        config = FlamingoConfig(
            media_width=about["vis_dim"],
            image_token=about["special_tokens"]["image"],
            end_token=about["special_tokens"]["endofchunk"],
            every=about["cross_attn_every_n_layers"],
            depth=resampler["depth"],
            latents=resampler["num_latents"],
            resampler=AttentionSizes(resampler["heads"], resampler["dim_head"], resampler["ff_mult"]),
            gated=AttentionSizes(gated["heads"], gated["dim_head"], gated["ff_mult"]),
        )
        vision = Patches(about["patch"], about["vis_dim"])
        vision.load_state_dict(part(self.arrays, "vision/"))
        self.model = Flamingo(config, vision, lm).eval()
        self.model.perceiver.load_state_dict(part(self.arrays, "ckpt/perceiver."))
        self.model.gates.load_state_dict(part(self.arrays, "ckpt/lang_encoder.gated_cross_attn_layers."))

    @property
    def feed(self) -> dict[str, Tensor]:
        names = {"pixels": "vision_x", "input_ids": "input_ids", "attention_mask": "attention_mask"}
        return {name: self.arrays[f"in/{key}"] for name, key in names.items()}

    def insert(self) -> PositionalInsert:
        side = self.about["image"] // self.about["patch"]
        table, *hidden, width = self.about["pin_dims"]
        insert = PositionalInsert(InsertConfig((side, side), width, table_width=table, hidden=tuple(hidden)))
        insert.load_state_dict(part(self.arrays, "pin/"))
        return insert


@pytest.fixture(scope="module", params=["flamingo_llama", "flamingo_opt"])
def recorded(request: pytest.FixtureRequest) -> Recorded:
    return Recorded(request.param)


@torch.no_grad()
def test_pictures_and_logits_are_the_recorded_ones(recorded: Recorded) -> None:
    model, arrays = recorded.model, recorded.arrays
    close(model.encode(recorded.feed["pixels"]), arrays["out/perceiver"])
    close(model(**recorded.feed).logits, arrays["out/logits"], 1e-4)
    for gate in model.gates.values():
        gate.latest_only = False
    close(model(**recorded.feed).logits, arrays["out/logits_all_previous"], 1e-4)
    for gate in model.gates.values():
        gate.latest_only = True
    feed = {key: value for key, value in recorded.feed.items() if key != "pixels"}
    # Without pictures it is the language model that it was.
    close(model.lm(**feed).logits, arrays["out/logits_gates_zero"], 1e-4)


@torch.no_grad()
def test_what_comes_later_stands_behind_the_last_picture(recorded: Recorded) -> None:
    model, feed = recorded.model, recorded.feed
    with model.looking(model.encode(feed["pixels"]), feed["input_ids"]):
        found = model.lm(input_ids=recorded.arrays["in/cached_tail_ids"]).logits
    close(found, recorded.arrays["out/logits_cached_tail"], 1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("beams", "name"), [(1, "greedy"), (3, "beam3")])
def test_answers_are_the_recorded_ones(recorded: Recorded, beams: int, name: str) -> None:
    pad = recorded.about["special_tokens"]["pad"]
    image = recorded.about["special_tokens"]["image"]
    options: dict[str, Any] = {"max_new_tokens": 8, "num_beams": beams, "do_sample": False, "pad_token_id": pad}
    given = recorded.feed["input_ids"].shape[1]
    written = recorded.model.generate(**recorded.feed, **options, suppress_tokens=[image, pad])
    wanted = recorded.arrays[f"out/generate_{name}"]
    assert written[:, given:].tolist() == wanted[:, : written.shape[1] - given].tolist()
    if name == "greedy":
        with inserted(recorded.model, recorded.insert()):
            written = recorded.model.generate(**recorded.feed, **options, suppress_tokens=[image, pad])
        wanted = recorded.arrays["out/generate_greedy_pin"]
        assert written[:, given:].tolist() == wanted[:, : written.shape[1] - given].tolist()


@torch.no_grad()
def test_the_insert_is_seen_as_recorded(recorded: Recorded) -> None:
    insert = recorded.insert()
    close(insert(), recorded.arrays["out/pin_pi"])
    with inserted(recorded.model, insert):
        close(recorded.model.encode(recorded.feed["pixels"]), recorded.arrays["out/perceiver_pin"])
        close(recorded.model(**recorded.feed).logits, recorded.arrays["out/logits_pin"], 1e-4)


def test_a_training_step_is_the_recorded_one(recorded: Recorded) -> None:
    model, arrays, insert = recorded.model.requires_grad_(False), recorded.arrays, recorded.insert()
    ids, labels = arrays["in/train_input_ids"], arrays["in/train_labels"]

    def loss() -> Tensor:
        with inserted(model, insert):
            found = model(arrays["in/train_vision_x"], ids, attention_mask=arrays["in/train_attention_mask"])
        logits = found.logits[:, :-1].flatten(0, 1)
        return nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100)

    first = loss()
    close(first, arrays["out/train_loss"][0], 1e-4)
    first.backward()
    with torch.no_grad():
        for name, weight in insert.mlp.named_parameters():
            assert weight.grad is not None
            close(weight.grad, arrays[f"out/train_grad.mlp.{name}"], 1e-4)
            weight -= 0.1 * weight.grad
            close(weight, arrays[f"out/after_sgd.mlp.{name}"], 1e-4)
    close(loss().detach(), arrays["out/train_loss_after_sgd"][0], 1e-4)

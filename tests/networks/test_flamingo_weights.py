"""Released spellings of OpenFlamingo's weights: all are read, and nothing is passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fovea.errors import CheckpointError
from fovea.networks.flamingo import Flamingo, FlamingoConfig
from fovea.networks.flamingo_weights import load_flamingo_weights, renamed_weights
from fovea.networks.perceiver import AttentionSizes

GOLDEN = Path(__file__).parents[1] / "golden" / "pin"
NAMES = ("flamingo_llama", "flamingo_opt")


def build(name: str, every: int | None = None) -> Flamingo:
    from transformers import AutoConfig, AutoModelForCausalLM

    about = json.loads((GOLDEN / f"{name}.json").read_text())
    resampler, gated = about["perceiver"], about["xattn"]
    config = FlamingoConfig(
        media_width=about["vis_dim"],
        image_token=47,
        end_token=46,
        every=every or about["cross_attn_every_n_layers"],
        depth=resampler["depth"],
        latents=resampler["num_latents"],
        resampler=AttentionSizes(resampler["heads"], resampler["dim_head"], resampler["ff_mult"]),
        gated=AttentionSizes(gated["heads"], gated["dim_head"], gated["ff_mult"]),
    )
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(about["lm"], **about["lm_config"]))
    vision = nn.Module()
    vision.proj = nn.Linear(48, about["vis_dim"])
    return Flamingo(config, vision, lm)


def released(name: str) -> dict[str, Tensor]:
    """What a released file holds: resampler and gates."""
    arrays = load_file(GOLDEN / f"{name}.safetensors")
    return {key.removeprefix("ckpt/"): value for key, value in arrays.items() if key.startswith("ckpt/")}


def newer(state: dict[str, Tensor], layers: str) -> dict[str, Tensor]:
    """The same with gates inside of the decoder layers."""
    found = {}
    for key, value in state.items():
        head, _, rest = key.partition("gated_cross_attn_layers.")
        number, _, name = rest.partition(".")
        found[f"{head}{layers}.{number}.gated_cross_attn_layer.{name}" if rest else key] = value
    return found


SPELLINGS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "released": lambda state: state,
    "newer": lambda state: newer(state, "model.layers"),
    "training": lambda state: {"model_state_dict": {f"module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_fills_the_same_weights(name: str, spelling: str) -> None:
    state = released(name)
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    coverage = load_flamingo_weights(model, SPELLINGS[spelling](state))  # type: ignore[arg-type]
    assert len(coverage.taken) == len(state)
    assert not coverage.unused
    after = model.state_dict()
    for key, value in renamed_weights(state).items():
        assert torch.equal(after[key], value)
    assert set(coverage.from_elsewhere) == {key for key in after if key.startswith(("lm.", "vision."))}
    assert all(torch.equal(after[key], before[key]) for key in coverage.from_elsewhere)
    assert f"{len(state)} weights taken" in str(coverage)


@pytest.mark.parametrize("name", NAMES)
def test_a_live_state_dict_is_covered_to_the_last_weight(name: str) -> None:
    """What the reference's own ``state_dict()`` lists, with every gate and every layer there twice."""
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["reference_state_dict_keys"]
    model = build(name)
    coverage = load_flamingo_weights(model, {key: torch.rand(shape) for key, shape in shapes.items()})
    assert coverage.unused == ()
    tied = [key for key in coverage.from_elsewhere if not key.endswith("lm_head.weight")]
    assert tied == []


def test_what_does_not_fit_says_so() -> None:
    state = released("flamingo_opt")
    with pytest.raises(CheckpointError, match=r"in front of the layers \[1, 3\], and the model of \[0, 1, 2, 3\]"):
        load_flamingo_weights(build("flamingo_opt", every=1), state)
    with pytest.raises(CheckpointError, match=r"lacks 1 weights, such as perceiver\.latents"):
        load_flamingo_weights(build("flamingo_opt"), {k: v for k, v in state.items() if k != "perceiver.latents"})
    narrow = {key: value[..., :-1] if key.endswith("1.attn.to_q.weight") else value for key, value in state.items()}
    with pytest.raises(CheckpointError, match=r"gates\.1\.attn\.to_q\.weight is \(24, 23\) in the file and \(24, 24\)"):
        load_flamingo_weights(build("flamingo_opt"), narrow)
    with pytest.raises(CheckpointError, match="no state dict"):
        load_flamingo_weights(build("flamingo_opt"), {"epoch": 3})

"""Refinement in rounds: against recorded runs of the released program and of a reading of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

from fovea.backbones.matching import MatchingModel, PictureStates, TextFormat, TextStates
from fovea.heat.igrs import (
    RefinedHeat,
    Refinement,
    Roles,
    Variant,
    over_picture,
    refine,
    scale,
    standing_out,
    stretch,
)
from fovea.heat.pwem import MergeMode
from fovea.networks.albef import AlbefConfig
from fovea.networks.albef_weights import build_albef, needed_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "iterprime"
MODES: tuple[MergeMode, ...] = ("full", "mean", "groundvlp", "global", "local")
DOCUMENT: dict[str, Any] = json.loads((GOLDEN / "cases.json").read_text())
CASES: list[dict[str, Any]] = DOCUMENT["cases"]
HEIGHT, WIDTH = DOCUMENT["heat_size_hw"]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(v)) for key, v in np.load(GOLDEN / "forward_pwem_igrs.npz").items()}


@pytest.fixture(scope="module")
def model() -> MatchingModel:
    sizes = DOCUMENT["config"]
    config = AlbefConfig(
        image_size=(64, 64), patch_size=16, vision_width=48, vision_depth=2, vision_heads=4, vision_mlp_width=192,
        vocab_size=128, max_positions=32, hidden_size=48, depth=4, num_heads=4, intermediate_size=96,
        fusion_layer=sizes["fusion_layer"], heat_layer=DOCUMENT["cam_layer"],
    )  # fmt: skip
    network = build_albef(config, needed_weights(load_file(GOLDEN / "albef_tiny.safetensors")))
    return MatchingModel(network, Tokenizer(WordLevel({"a": 0}, "a")), TextFormat(2), "tiny")


@torch.no_grad()
def states(
    model: MatchingModel, recorded: dict[str, Tensor], image: int, text: int
) -> tuple[PictureStates, TextStates]:
    network = model._network
    tokens = network.encode_image(recorded["images"][image][None])
    texts = network.encode_text(recorded["input_ids"][text][None])
    return PictureStates(network.image_keys_values(tokens)), TextStates(texts[0])


def run(
    model: MatchingModel, recorded: dict[str, Tensor], case: dict[str, Any], variant: Variant = "released"
) -> RefinedHeat:
    picture, text = states(model, recorded, case["image"], case["text"])
    # The reading of the paper was recorded with its own weight throughout.
    weight = case["alpha"] if variant == "released" else 0.2
    settings = Refinement(case["iter_num"], weight, mode=MODES[case["mode"]], variant=variant)
    roles = Roles(tuple(case["focus"]), tuple(case["primary"]))
    return refine(model, picture, [text], [roles], (WIDTH, HEIGHT), settings)[0]


def close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-4 of the largest value, as the recording itself is."""
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@every_case
def test_the_released_program_matches(model: MatchingModel, recorded: dict[str, Tensor], case: dict[str, Any]) -> None:
    found, name = run(model, recorded, case), case["name"]
    stopped = bool(recorded[f"{name}/stopped"])
    assert found.accepted == int(recorded[f"{name}/num_iterations"])
    assert len(found.rounds) == found.accepted + stopped
    assert [one.accepted for one in found.rounds] == [True] * found.accepted + [False] * stopped
    close(found.heat((WIDTH, HEIGHT)), recorded[f"{name}/final_heat"])
    relevance = torch.tensor(1.0, dtype=torch.float64)
    for number, one in enumerate(found.rounds):
        at = f"{name}/it{number}"
        mask = recorded[f"{at}/cross_mask"][0, 1:].view(4, 4).bool()
        assert torch.equal(one.visible, mask)
        assert one.score == pytest.approx(float(recorded[f"{at}/itm_prob"]), abs=1e-5)
        close(one.merged, recorded[f"{at}/h_a"])
        close(one.scaled, recorded[f"{at}/h_norm"])
        assert torch.equal(~one.dropped, recorded[f"{at}/drop_mask"].bool())
        assert torch.equal(one.visible & ~one.dropped, recorded[f"{at}/mask_next"].bool())
        close(one.running, recorded[f"{at}/h_run"])
        heat = over_picture(one.running, (WIDTH, HEIGHT))
        close(heat, recorded[f"{at}/heat"])
        # The relevance that cancels out of the released rule.
        if f"{at}/relevance" in recorded:
            assert one.accepted
            close(relevance, recorded[f"{at}/relevance"])
            close(relevance * one.score, recorded[f"{at}/soft_score"])
        relevance = 1 - (scale(stretch(heat)) if number == 0 else heat).mean().double()


@every_case
def test_the_reading_of_the_paper_matches(
    model: MatchingModel, recorded: dict[str, Tensor], case: dict[str, Any]
) -> None:
    found, name = run(model, recorded, case, "paper"), f"{case['name']}/paper"
    stop = int(recorded[f"{name}/stop_index"])
    assert found.accepted == (case["iter_num"] if stop < 0 else stop)
    for number, one in enumerate(found.rounds):
        at = f"{name}/it{number}"
        close(one.running, recorded[f"{at}/h_run"])
        close(over_picture(one.running, (WIDTH, HEIGHT)), recorded[f"{at}/heat"])
        assert one.relevance == pytest.approx(float(recorded[f"{at}/relevance"]), abs=1e-5)
        assert one.soft_score == pytest.approx(float(recorded[f"{at}/soft_score"]), abs=1e-5)
    # The round that made it stop does not count.
    kept = recorded[f"{name}/it{found.accepted - 1}/heat"]
    close(found.heat((WIDTH, HEIGHT)), kept)


@every_case
def test_rounds_behind_a_stop_match_too(
    model: MatchingModel, recorded: dict[str, Tensor], case: dict[str, Any]
) -> None:
    """They were recorded as if it never stopped: one round at a time, each on the recorded mask."""
    picture, text = states(model, recorded, case["image"], case["text"])
    for number in range(case["iter_num"]):
        at = f"{case['name']}/it{number}"
        visible = recorded[f"{at}/cross_mask"][:, 1:].view(1, 4, 4).bool()
        (match,) = model.match(picture, [text], visible=visible)
        assert match.score == pytest.approx(float(recorded[f"{at}/itm_prob"]), abs=1e-5)
        close((match.attention * match.gradient.clamp(min=0)).mean(0), recorded[f"{at}/token_gradcam"])
        assert torch.equal(~standing_out(recorded[f"{at}/h_norm"], 0.5), recorded[f"{at}/drop_mask"].bool())


def test_a_batch_of_texts_equals_one_by_one(model: MatchingModel, recorded: dict[str, Tensor]) -> None:
    """Texts of different lengths that stop at different rounds."""
    whole = [states(model, recorded, 1, text) for text in range(4)]
    picture = whole[0][0]
    texts = [TextStates(text.states[: 12 - 2 * row]) for row, (_, text) in enumerate(whole)]
    roles = [Roles((4, 5), (5,)), Roles((3, 4, 5), (4,)), Roles((2, 4)), Roles(())]
    settings = Refinement(rounds=4)
    together = refine(model, picture, texts, roles, (WIDTH, HEIGHT), settings)
    for row, found in enumerate(together):
        (alone,) = refine(model, picture, [texts[row]], [roles[row]], (WIDTH, HEIGHT), settings)
        assert len(found.rounds) == len(alone.rounds)
        close(found.running, alone.running)
    assert len({len(found.rounds) for found in together}) > 1
    assert refine(model, picture, [], [], (WIDTH, HEIGHT)) == []


def test_what_is_dropped_stays_hidden(model: MatchingModel, recorded: dict[str, Tensor]) -> None:
    picture, text = states(model, recorded, 1, 1)
    (found,) = refine(model, picture, [text], [Roles((4, 6), (6,))], (9, 9), Refinement(rounds=4, threshold=0.01))
    for one, following in zip(found.rounds, found.rounds[1:], strict=False):
        assert not (following.visible & one.dropped).any()
        assert not (following.visible & ~one.visible).any()
        assert (following.merged[~following.visible] == 0).all()


def test_maps_are_scaled_one_by_one() -> None:
    maps = torch.tensor([[[2.0, 4.0], [3.0, 2.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    torch.testing.assert_close(scale(maps), torch.tensor([[[0, 1], [0.5, 0]], [[0.0, 0], [0, 0]]]))
    # A flat map hides everything, as released.
    assert standing_out(scale(maps), 0.5).tolist() == [[[False, True], [True, False]], [[True, True], [True, True]]]


def test_stretching_keeps_order_and_range() -> None:
    line = torch.linspace(0, 1, 11).view(1, 11)
    stretched = stretch(line)
    assert (stretched.diff() > 0).all()
    assert float(stretched.max()) == 1
    assert float(stretched[0, 5]) == pytest.approx(0.5, abs=1e-3)
    assert float(stretched[0, 2]) < 0.01


def test_impossible_settings_and_roles_are_refused(model: MatchingModel, recorded: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="a round"):
        Refinement(rounds=0)
    picture, text = states(model, recorded, 0, 0)
    with pytest.raises(ValueError, match="1 texts came with 0 roles"):
        refine(model, picture, [text], [], (9, 9))

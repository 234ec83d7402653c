"""RegionSpot's head against what the reference implementation computed with random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"
HEADS = json.loads((GOLDEN / "head_config.json").read_text())["num_heads"]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "head_io.safetensors")


@pytest.fixture(scope="module")
def head() -> RegionSpotHead:
    state = {key.removeprefix("model."): value for key, value in load_file(GOLDEN / "head_state.safetensors").items()}
    built = RegionSpotHead(RegionSpotConfig.of_weights(state, HEADS))
    built.load_state_dict(state)
    return built.eval()


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


def test_sizes_are_read_off_the_weights(head: RegionSpotHead) -> None:
    assert head.config == RegionSpotConfig(32, 24, 256, 3, 8, 64)


@torch.no_grad()
def test_vectors_and_logits_are_the_recorded_ones(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    vectors = head(recorded["in.sam_tokens"], recorded["in.clip_tokens"])
    close(vectors, recorded["mid.region_unit"])
    for vocabulary in ("objects365", "v3det", "openimages"):
        close(100 * vectors @ recorded[f"in.text_{vocabulary}"].t(), recorded[f"out.logits_{vocabulary}"], 2e-3)


def test_looks_are_the_recorded_ones(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    looks = head.looks(recorded["in.sam_tokens"], recorded["in.clip_tokens"])
    for number, one in enumerate(looks):
        close(one.regions, recorded[f"mid.layer{number}.self_attn_mean"])
        close(one.places, recorded[f"mid.layer{number}.cross_attn_mean"])


@torch.no_grad()
def test_what_a_region_is_depends_on_its_neighbours_unless_it_is_single(
    head: RegionSpotHead, recorded: dict[str, Tensor]
) -> None:
    tokens, places = recorded["in.sam_tokens"][:1], recorded["in.clip_tokens"][:1]
    texts = 100 * recorded["in.text_objects365"].t()
    close(head(tokens, places) @ texts, recorded["infer.logits_single"], 2e-3)
    close(head(tokens[:, :-1], places) @ texts, recorded["infer.logits_drop_last"], 2e-3)
    close(head(tokens, places, context="single") @ texts, recorded["infer.logits_one_by_one"].view(1, 5, -1), 2e-3)


@torch.no_grad()
def test_the_hypotheses_of_a_prompt_are_sets_of_their_own(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    tokens = recorded["infer.three_tokens"].transpose(0, 1)
    vectors = head(tokens, recorded["in.clip_tokens"][:1].expand(3, -1, -1))
    logits = 100 * vectors @ recorded["in.text_objects365"].t()
    close(logits.transpose(0, 1), recorded["infer.logits_multi"], 2e-3)


@torch.no_grad()
def test_padding_changes_nothing(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    tokens, places = recorded["in.sam_tokens"], recorded["in.clip_tokens"]
    padding = torch.tensor([[False] * 5, [False, False, True, True, True]])
    padded = head(tokens, places, padding)
    close(padded[0], head(tokens[:1], places[:1])[0])
    close(padded[1, :2], head(tokens[1:, :2], places[1:])[0])


@torch.no_grad()
def test_without_the_class_token_it_is_not_looked_at(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    blind = RegionSpotHead(RegionSpotConfig.of_weights(head.state_dict(), HEADS, class_token=False)).eval()
    blind.load_state_dict(head.state_dict())
    tokens, places = recorded["in.sam_tokens"], recorded["in.clip_tokens"]
    changed = places.clone()
    changed[:, 0] += 1
    close(blind(tokens, places), blind(tokens, changed))
    assert blind.looks(tokens, places)[0].places.shape[-1] == places.shape[1] - 1
    assert (head(tokens, places) - head(tokens, changed)).abs().max() > 1e-3


@torch.no_grad()
def test_without_places_a_region_is_what_its_token_says(head: RegionSpotHead, recorded: dict[str, Tensor]) -> None:
    blind = RegionSpotHead(replace(head.config, places=False)).eval()
    blind.load_state_dict(head.state_dict())
    tokens, places = recorded["in.sam_tokens"], recorded["in.clip_tokens"]
    close(blind(tokens, places), head(tokens, torch.zeros_like(places[:, :1])))
    assert blind.looks(tokens, places)[0].places.shape[-1] == places.shape[1]

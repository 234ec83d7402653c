"""Merging token maps: against recorded arrays, and what must hold for any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fovea.heat.pwem import (
    MergeMode,
    context_tokens,
    contrast,
    local_maps,
    merge_tokens,
    primary_map,
    repeated_tokens,
    token_maps,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "iterprime"
MODES: tuple[MergeMode, ...] = ("full", "mean", "groundvlp", "global", "local")
CASES: list[dict[str, Any]] = json.loads((GOLDEN / "cases.json").read_text())["cases"]
with np.load(GOLDEN / "forward_pwem_igrs.npz") as arrays:
    NAMES = set(arrays.files)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "forward_pwem_igrs.npz").items()}


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def places(recorded: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Recorded attention and gradient, without the class token among the keys."""
    return tuple(recorded[f"{name}/{key}"][0, :, :, 1:].unflatten(-1, (4, 4)) for key in ("attn", "attn_grad"))  # type: ignore[return-value]


def recorded_with(array: str) -> pytest.MarkDecorator:
    """Cases and rounds for which an array was recorded."""
    found = [(case, turn) for case in CASES for turn in (0, 1) if f"{case['name']}/it{turn}/{array}" in NAMES]
    assert found
    return pytest.mark.parametrize(("case", "turn"), found, ids=[f"{case['name']}-{turn}" for case, turn in found])


@recorded_with("attn")
def test_merged_maps_match(recorded: dict[str, Tensor], case: dict[str, Any], turn: int) -> None:
    name = f"{case['name']}/it{turn}"
    attention, gradient = places(recorded, name)
    assert relative(token_maps(attention, gradient).mean(0), recorded[f"{name}/token_gradcam"]) < 1e-5
    merged = merge_tokens(attention, gradient, case["focus"], case["primary"], MODES[case["mode"]])
    assert relative(merged, recorded[f"{name}/h_a"]) < 1e-5


@recorded_with("context_ids")
def test_parts_match(recorded: dict[str, Tensor], case: dict[str, Any], turn: int) -> None:
    name, focus, primary = f"{case['name']}/it{turn}", case["focus"], case["primary"]
    attention, gradient = places(recorded, name)
    context = recorded[f"{name}/context_ids"].tolist()
    repeated = focus if MODES[case["mode"]] == "local" else repeated_tokens(focus, primary)
    assert sorted(context_tokens(focus, primary)) == sorted(context)
    assert repeated == recorded[f"{name}/global_ids"].tolist()
    assert relative(primary_map(attention, gradient, primary)[:, None], recorded[f"{name}/h_m"]) < 1e-5
    assert relative(contrast(attention, primary, context), recorded[f"{name}/a_dif"]) < 1e-5
    assert relative(local_maps(attention, gradient, primary, context), recorded[f"{name}/h_l"]) < 1e-5
    mean = token_maps(attention, gradient)[:, repeated].mean((0, 1))
    assert relative(mean, recorded[f"{name}/h_g_mean"]) < 1e-5


def test_a_padded_batch_and_its_last_layer_match(recorded: dict[str, Tensor]) -> None:
    """Padded tokens were recorded as nothing."""
    for layer in (2, 3):
        for row in range(2):
            mask = recorded["batch/attention_mask"][row].bool()
            attention, gradient = (
                recorded[f"batch/layer{layer}/{key}"][row, :, :, 1:].unflatten(-1, (4, 4)) * mask[:, None, None]
                for key in ("attn", "attn_grad")
            )
            expected = recorded[f"batch/layer{layer}/token_gradcam"][row]
            assert relative(token_maps(attention, gradient).mean(0), expected) < 1e-5


def test_groundvlp_heat_matches(recorded: dict[str, Tensor]) -> None:
    for row, focus in enumerate([[5, 6, 8], [4, 6]]):
        attention, gradient = (
            recorded[f"batch/layer2/{key}"][row, :, :, 1:].unflatten(-1, (4, 4)) for key in ("attn", "attn_grad")
        )
        merged = merge_tokens(attention, gradient, focus, mode="groundvlp")
        spread = torch.nn.functional.interpolate(merged[None, None], (30, 42), mode="bicubic", align_corners=False)
        assert relative(spread[0, 0], recorded["groundvlp/heat"][row]) < 1e-5


@pytest.fixture(scope="module")
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(3, 7, 2, 5, generator=generator)
    return attention, torch.randn(3, 7, 2, 5, generator=generator)


def slow_full(attention: Tensor, gradient: Tensor, focus: list[int], primary: list[int]) -> np.ndarray:
    """The specification, written out for one place and one head at a time."""
    heads, _, rows, columns = attention.shape
    a, g = attention.double().numpy(), gradient.clamp(min=0).double().numpy()
    result = np.zeros((rows, columns))
    others = [token for token in focus if token not in primary]
    for head, row, column in np.ndindex(heads, rows, columns):
        at = a[head, :, row, column], g[head, :, row, column]
        own_a, own_g = (np.mean([part[token] for token in primary]) for part in at)
        values = [at[0][0] * at[1][0]]
        values += [at[0][token] * at[1][token] for token in focus]
        values += [at[0][token] * at[1][token] for token in primary] * len(focus)
        differences = [own_a - at[0][token] for token in others] or [own_a]
        length = np.sqrt(sum(one**2 for one in differences)) or 1e-8
        values += [one / length * own_g * own_a * own_g for one in differences]
        result[row, column] += np.mean(values) / heads
    return result


@pytest.mark.parametrize(
    ("focus", "primary"),
    [([2, 3, 5], [3]), ([2, 3, 4, 6], [3, 4]), ([4], [4]), ([2, 5], [3]), ([], [6]), ([1, 2], [1, 2])],
)
def test_it_is_the_specification(maps: tuple[Tensor, Tensor], focus: list[int], primary: list[int]) -> None:
    np.testing.assert_allclose(merge_tokens(*maps, focus, primary), slow_full(*maps, focus, primary), atol=1e-6)


@pytest.mark.parametrize("mode", ["full", "global", "local"])
def test_without_a_primary_word_all_tokens_or_the_class_token(maps: tuple[Tensor, Tensor], mode: MergeMode) -> None:
    attention, gradient = maps[0], maps[1].clamp(min=0)
    tokens = attention.mean(0) * gradient.mean(0)
    torch.testing.assert_close(merge_tokens(*maps, [2, 4], [], mode), tokens.mean(0))
    torch.testing.assert_close(merge_tokens(*maps, [], [], mode), tokens[0])


def test_groundvlp_without_focus_takes_all(maps: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(merge_tokens(*maps, [], mode="groundvlp"), merge_tokens(*maps, [], mode="mean"))


def test_places_without_attention_stay_cold(maps: tuple[Tensor, Tensor]) -> None:
    attention = maps[0].clone()
    attention[..., 0, 3] = 0
    for mode in MODES:
        merged = merge_tokens(attention, maps[1], [2, 3], [3], mode)
        assert merged.isfinite().all()
        assert merged[0, 3] == 0


@pytest.mark.parametrize(("focus", "primary"), [([7], []), ([1], [9]), ([-1], [])])
def test_tokens_that_are_not_there_are_refused(
    maps: tuple[Tensor, Tensor], focus: list[int], primary: list[int]
) -> None:
    with pytest.raises(ValueError, match="not all among the 7"):
        merge_tokens(*maps, focus, primary)

"""The loss of regions, and the padding, against what the released training computed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.training.focal_loss import focal_terms, region_loss
from fovea.training.region_padding import repetition, stack_padded

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"
CASES = {
    "a025_g2": (0.25, 2.0),
    "noalpha_g2": (-1.0, 2.0),
    "a05_g0": (0.5, 0.0),
    "a075_g1": (0.75, 1.0),
    "scale5": (0.25, 2.0),
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "head_io.safetensors")


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_the_recorded_ones(case: str, recorded: dict[str, Tensor]) -> None:
    alpha, gamma = CASES[case]
    logits = recorded["focal.scale5.logits" if case == "scale5" else "out.logits_v3det"].clone().requires_grad_()
    loss = region_loss(logits, recorded["in.labels"], alpha=alpha, gamma=gamma, reduction="upstream")
    loss.backward()
    torch.testing.assert_close(loss.detach(), recorded[f"focal.{case}.loss"][0], rtol=1e-5, atol=0)
    wanted = recorded[f"focal.{case}.dlogits"]
    assert logits.grad is not None
    assert (logits.grad - wanted).norm() <= 1e-4 * wanted.norm()


def test_a_training_step_has_the_recorded_loss_and_gradients(recorded: dict[str, Tensor]) -> None:
    state = {key.removeprefix("model."): value for key, value in load_file(GOLDEN / "head_state.safetensors").items()}
    settings = json.loads((GOLDEN / "head_config.json").read_text())
    head = RegionSpotHead(RegionSpotConfig.of_weights(state, settings["num_heads"]), dropout=0.0)
    head.load_state_dict(state)
    vectors = head.train()(recorded["in.sam_tokens"], recorded["in.clip_tokens"])
    logits = settings["logit_scale"] * vectors @ recorded["in.text_v3det"].t()
    loss = region_loss(logits, recorded["in.labels"], reduction="upstream")
    loss.backward()
    torch.testing.assert_close(loss.detach(), recorded["out.loss"][0], rtol=1e-5, atol=0)
    gradients = {
        key.removeprefix("grad.model."): value for key, value in load_file(GOLDEN / "head_grads.safetensors").items()
    }
    assert gradients.keys() == dict(head.named_parameters()).keys()
    largest = max(value.norm() for value in gradients.values())
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None
        # Biases of keys change nothing: their gradients are rounding.
        assert (parameter.grad - gradients[key]).norm() <= 1e-4 * gradients[key].norm() + 1e-6 * largest, key


def test_one_logit_by_hand() -> None:
    share = 1 / (1 + math.exp(-0.7))
    right, wrong = focal_terms(torch.tensor([0.7, 0.7]), torch.tensor([1.0, 0.0]))
    assert right.item() == pytest.approx(-0.25 * (1 - share) ** 2 * math.log(share), rel=1e-5)
    assert wrong.item() == pytest.approx(-0.75 * share**2 * math.log(1 - share), rel=1e-5)


def test_the_mean_is_over_true_regions_and_pictures(recorded: dict[str, Tensor]) -> None:
    logits, labels = recorded["out.logits_v3det"], recorded["in.labels"]
    padding = torch.tensor([[False] * 5, [False, False, True, True, True]])
    alone = [region_loss(logits[:1], labels[:1]), region_loss(logits[1:, :2], labels[1:, :2])]
    torch.testing.assert_close(region_loss(logits, labels, padding), torch.stack(alone).mean())
    # Without padding it is the released sum by the number of pictures.
    released = region_loss(logits, labels, reduction="upstream")
    torch.testing.assert_close(region_loss(logits, labels), released / 2)
    # A picture without regions is as if it were not there.
    padding[1] = True
    torch.testing.assert_close(region_loss(logits, labels, padding), alone[0])
    assert region_loss(logits, labels, torch.ones_like(padding)) == 0


def stack_repeated(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of several pictures, filled up by repetition: ``(B, N, ...)``."""
    longest = max(map(len, parts))
    return np.stack([part[repetition(len(part), longest)] for part in parts])


def test_repetition_is_the_recorded_one(recorded: dict[str, Tensor]) -> None:
    tokens = [recorded[f"pad.{i}.tokens_in"].numpy() for i in range(3)]
    # The released files hold numbers from 1 on.
    labels = [(recorded[f"pad.{i}.classes_in"] - 1).clamp(min=0).numpy() for i in range(3)]
    for index, (rows, numbers) in enumerate(zip(stack_repeated(tokens), stack_repeated(labels), strict=True)):
        torch.testing.assert_close(torch.from_numpy(rows), recorded[f"pad.{index}.tokens_out"], rtol=0, atol=0)
        assert numbers.tolist() == recorded[f"pad.{index}.labels_out"].tolist()
    assert repetition(3, 3).tolist() == [0, 1, 2]
    assert repetition(3, 8).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


def test_padding_is_marked(recorded: dict[str, Tensor]) -> None:
    tokens = [recorded[f"pad.{i}.tokens_in"].numpy() for i in range(3)]
    stacked, padding = stack_padded(tokens)
    assert stacked.shape == (3, 7, 1, 8)
    assert (~padding).sum(1).tolist() == [2, 7, 5]
    for rows, empty, part in zip(stacked, padding, tokens, strict=True):
        assert (rows[~empty] == part).all()
        assert not rows[empty].any()

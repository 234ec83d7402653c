"""The optimisers of the minis, their schedule, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def orthogonalise(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix near 1 by five Newton-Schulz steps, whatever its scale.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with its coefficients; in
    the precision of the input, since few processors are quick at half precision.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.t()
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.7750 * gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.t()


class Muon(Optimizer):
    """Muon for hidden layers; a convolution is taken as a matrix of output channels by everything else.

    ``torch.optim.Muon`` refuses convolutions, and works in bfloat16, which is slow on most processors.

    Args:
        params: weights of convolutions and linear layers, or groups of them.
        lr: step size; updates have singular values of 1.
        momentum: of Nesterov's kind.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                direction = weight.grad.lerp(state["momentum"], group["momentum"])
                matrix = orthogonalise(direction.flatten(1))
                # Widening layers take larger steps, so that outputs of all layers move alike.
                stretch = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(matrix.view_as(weight), alpha=-group["lr"] * stretch)


@dataclass(frozen=True, eq=False)
class WeightGroup:
    """Weights that learn alike.

    Attributes:
        weights: of the module that is trained.
        factor: of the peak learning rate, AdamW's or Muon's.
        hidden: whether they are weights of hidden layers, which Muon trains where the settings ask for it.
    """

    weights: Sequence[Tensor]
    factor: float = 1.0
    hidden: bool = False


def build_optimizers(
    module: nn.Module, groups: Sequence[WeightGroup], lr: float, muon_lr: float = 0.0, weight_decay: float = 0.05
) -> list[Optimizer]:
    """The optimisers of a training, at their peak learning rates.

    Args:
        module: what is trained.
        groups: weights that need more said of them; all others are AdamW's, with a factor of 1.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon; 0 leaves everything to AdamW.
        weight_decay: for matrices and convolutions; vectors and scalars are never decayed.
    """
    hidden = [group for group in groups if group.hidden and muon_lr]
    taken = {id(weight) for group in hidden for weight in group.weights}
    factors = {id(weight): group.factor for group in groups for weight in group.weights}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in taken]
    parts = []
    for factor in dict.fromkeys(factors.get(id(p), 1.0) for p in rest):
        alike = [p for p in rest if factors.get(id(p), 1.0) == factor]
        matrices, vectors = [p for p in alike if p.ndim >= 2], [p for p in alike if p.ndim < 2]
        parts += [
            {"params": matrices, "weight_decay": weight_decay, "lr": lr * factor},
            {"params": vectors, "weight_decay": 0.0, "lr": lr * factor},
        ]
    optimizers: list[Optimizer] = [AdamW([part for part in parts if part["params"]], lr=lr, betas=(0.9, 0.98))]
    if taken:
        stated = [{"params": list(group.weights), "lr": muon_lr * group.factor} for group in hidden]
        optimizers.append(Muon(stated, lr=muon_lr, weight_decay=weight_decay))
    return optimizers


def cosine_share(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine down to nothing."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def learning_share(step: int, steps: int, warmup: int, milestones: Sequence[float] = ()) -> float:
    """Share of the peak learning rate at a step: a cosine, or falls to a tenth.

    Args:
        step: from 0 on.
        steps: of the whole run.
        warmup: steps of linear warm-up.
        milestones: shares of the steps after each of which it falls to a tenth; without any it follows a cosine.
    """
    if not milestones or step < warmup:
        return cosine_share(step, steps, warmup)
    return float(0.1 ** sum(step >= milestone * steps for milestone in milestones))


def average(shadow: dict[str, torch.Tensor], module: nn.Module, decay: float) -> None:
    """Move a running average of a module's state one step on, in place; integers are copied."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            shadow[key].lerp_(value.detach().to(shadow[key].dtype), 1 - decay)
        else:
            shadow[key].copy_(value)

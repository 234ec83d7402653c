"""The optimiser of the minis, its schedule, and the running average of the weights."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import AdamW, Optimizer


def build_optimizer(module: nn.Module, lr: float, weight_decay: float = 0.05) -> Optimizer:
    """AdamW over the trainable parameters; vectors and scalars are never decayed.

    Args:
        module: what is trained.
        lr: peak learning rate.
        weight_decay: for matrices and convolutions.

    Returns:
        The optimiser.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr, betas=(0.9, 0.98))


def cosine_share(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine down to nothing."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def average(shadow: dict[str, torch.Tensor], module: nn.Module, decay: float) -> None:
    """Move a running average of a module's state one step on, in place; integers are copied."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            shadow[key].lerp_(value.detach().to(shadow[key].dtype), 1 - decay)
        else:
            shadow[key].copy_(value)

"""How long and how fast a training runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: pictures per step and process.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon for hidden layers; 0 leaves them to AdamW.
        weight_decay: of matrices and convolutions.
        warmup: steps of linear warm-up.
        seed: of weights and data.
        average_decay: of the running average of the weights, which is what is shipped.
        clip_norm: longest gradient; longer ones are shortened.
        milestones: shares of the steps, 0..1, after each of which the learning rate falls to a tenth; without any it
            follows a cosine.
        precision: ``no`` for float32, or ``bf16`` for passes under autocast.
        evaluate_every: steps between measurements, where the objective offers them; 0 for none.
        checkpoint_minutes: time between checkpoints.
        log_every: steps between lines of the log.
        workers: processes that make batches.
    """

    steps: int
    batch_size: int
    lr: float
    muon_lr: float = 0.0
    weight_decay: float = 0.05
    warmup: int = 100
    seed: int = 0
    average_decay: float = 0.998
    clip_norm: float = 5.0
    milestones: tuple[float, ...] = ()
    precision: Literal["no", "bf16"] = "no"
    evaluate_every: int = 0
    checkpoint_minutes: float = 3.0
    log_every: int = 10
    workers: int = 1

    def __post_init__(self) -> None:
        # A file of settings holds a list.
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if self.precision not in ("no", "bf16"):
            raise ValueError('precision is neither "no" nor "bf16"')
        if any(not 0 <= milestone <= 1 for milestone in self.milestones):
            raise ValueError("a milestone lies outside of 0..1")

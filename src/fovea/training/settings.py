"""How long and how fast a training runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: pictures per step and process.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon for hidden layers; 0 leaves them to AdamW.
        warmup: steps of linear warm-up.
        seed: of weights and data.
        average_decay: of the running average of the weights, which is what is shipped.
        checkpoint_minutes: time between checkpoints.
        log_every: steps between lines of the log.
        workers: processes that make batches.
    """

    steps: int
    batch_size: int
    lr: float
    muon_lr: float = 0.0
    warmup: int = 100
    seed: int = 0
    average_decay: float = 0.998
    checkpoint_minutes: float = 3.0
    log_every: int = 10
    workers: int = 1

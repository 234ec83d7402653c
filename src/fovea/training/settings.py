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


@dataclass(frozen=True)
class AlphaSettings(TrainSettings):
    """How a CLIP learns its alpha plane; the defaults are the paper's (specs/alphaclip.md, 3).

    Attributes:
        rest_factor: learning rates of the picture tower, as a factor of those that ``lr`` and ``muon_lr`` state; the
            convolution of the alpha plane has ``lr`` itself.
        whole_share: how often a picture is meant as a whole, 0..1.
        smoothing: of the labels, 0..1; the released program smooths with 0.1, the paper does not.
        lora_rank: of adapters that are trained in place of the tower's weights; 0 trains the weights.
        fit: how pictures become square: ``pad`` with black, or ``squash``.
        keep: weight of the cosine distance between what the tower says of whole pictures and what it said of them
            before the training. It is asked only of the samples that ``whole_share`` yields.
        smallest_crop: regions are shown in parts of their pictures with sides of at least this share, above 0; 1 shows
            whole pictures.
    """

    weight_decay: float = 0.02
    warmup: int = 200
    rest_factor: float = 0.01
    whole_share: float = 0.1
    smoothing: float = 0.1
    lora_rank: int = 0
    fit: Literal["pad", "squash"] = "pad"
    keep: float = 0.0
    smallest_crop: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.smallest_crop <= 1:
            raise ValueError("smallest_crop is not above 0 and at most 1")
        for name in ("whole_share", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies outside of 0..1")
        if self.fit not in ("pad", "squash"):
            raise ValueError('fit is neither "pad" nor "squash"')
        if not isinstance(self.lora_rank, int) or min(self.lora_rank, self.keep, self.rest_factor) < 0:
            raise ValueError("lora_rank, keep or rest_factor is below 0, or the rank is no whole number")

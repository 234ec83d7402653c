"""How long and how fast a training runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


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
        clip_norm: longest gradient; longer ones are shortened. 0 for no limit.
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
        for name, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _fitting(name, kind, getattr(self, name)))
        if min(self.steps, self.batch_size, self.log_every) < 1 or min(self.seed, self.workers) < 0:
            raise ValueError("steps, batch_size or log_every is below 1, or seed or workers below 0")
        if any(not 0 <= milestone <= 1 for milestone in self.milestones):
            raise ValueError("a milestone lies outside of 0..1")


def _fitting(name: str, kind: Any, value: Any) -> Any:
    """A value as it is annotated: a file of settings holds lists for tuples, and whole numbers for others.

    Raises:
        ValueError: it is of another type, or none of those that can be chosen.
    """
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        if value not in choices:
            raise ValueError(f"{name} is none of {', '.join(map(repr, choices))}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} is no list")
        return tuple(_fitting(f"an item of {name}", choices[0], item) for item in value)
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{name} is {value!r}, which is no {kind.__name__}")


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
        if min(self.lora_rank, self.keep, self.rest_factor) < 0:
            raise ValueError("lora_rank, keep or rest_factor is below 0")

"""The training loop: one for every objective.

An objective brings the module, the batches and the loss; the loop brings devices, schedule, averaging of weights,
checkpoints, resuming, the log and the loss curve.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fovea.training.optimizers import average, build_optimizer, cosine_share

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: pictures per step and process.
        lr: peak learning rate.
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
    warmup: int = 100
    seed: int = 0
    average_decay: float = 0.998
    checkpoint_minutes: float = 3.0
    log_every: int = 10
    workers: int = 1


class Objective(Protocol):
    """What is trained, on what, and towards what."""

    module: nn.Module

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Batches by step number."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and its parts, for the log."""
        ...

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write the averaged weights as a model directory."""
        ...


def _write_atomically(payload: object, path: Path) -> None:
    """Save beside and rename, so that a kill never leaves half a checkpoint."""
    beside = path.with_suffix(".tmp")
    torch.save(payload, beside)
    os.replace(beside, path)


class _Log:
    """``log.jsonl`` and its picture ``loss.png``."""

    def __init__(self, directory: Path, start: int) -> None:
        self.path = directory / "log.jsonl"
        old = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        # What came after the checkpoint will come again.
        self.rows: list[dict[str, float]] = [row for row in old if row["step"] <= start]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def picture(self) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for key in self.rows[0] if self.rows else ():
            if key not in ("step", "minutes"):
                axes.plot([row["step"] for row in self.rows], [row[key] for row in self.rows], label=key)
        axes.set(xlabel="step", ylabel="loss")
        axes.legend()
        figure.savefig(self.path.with_name("loss.png"), dpi=110)


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"


def train(objective: Objective, settings: TrainSettings, directory: Path) -> None:
    """Run a training to its end, from its last checkpoint where there is one.

    Args:
        objective: what is trained.
        settings: how long and how fast.
        directory: receives ``checkpoint.pt``, ``log.jsonl``, ``loss.png`` and, at every checkpoint, the model
            directory ``model/``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    module = objective.module.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(module, settings.lr)
    shadow = {key: value.detach().clone().float() if value.is_floating_point() else value.clone()
              for key, value in module.state_dict().items()}
    path = directory / "checkpoint.pt"
    start, spent = 0, 0.0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        start, spent = saved["step"], saved["seconds"]
        module.load_state_dict(saved["module"])
        shadow = saved["average"]
        optimizer.load_state_dict(saved["optimizer"])
        log.info("resumed at step %d of %d", start, settings.steps)
    loader = DataLoader(
        objective.batches(settings),
        batch_size=None,
        sampler=range(start, settings.steps),
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
    )
    module, optimizer = accelerator.prepare(module, optimizer)
    bare = accelerator.unwrap_model(module)
    record = _Log(directory, start)
    begun = saved_at = time.monotonic()
    totals: dict[str, float] = {}
    module.train()
    for step, batch in enumerate(loader, start=start):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * cosine_share(step, settings.steps, settings.warmup)
        batch = {key: value.to(accelerator.device) for key, value in batch.items()}
        loss, parts = objective.loss(module, batch)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # A young average would remember the random start: let it forget faster in the beginning.
        average(shadow, bare, min(settings.average_decay, (1 + step) / (10 + step)))
        for key, value in {"loss": float(loss.detach()), **parts}.items():
            totals[key] = totals.get(key, 0.0) + value
        now = time.monotonic()
        done = step + 1
        if done % settings.log_every == 0 and accelerator.is_main_process:
            row = {key: round(value / settings.log_every, 4) for key, value in totals.items()}
            totals = {}
            record.add({"step": done, "minutes": round((spent + now - begun) / 60, 2), **row})
            left = (now - begun) / (done - start) * (settings.steps - done)
            log.info("step %d/%d  %s  %s left", done, settings.steps,
                     "  ".join(f"{key} {value:.3f}" for key, value in row.items()), _clock(left))
        last = done == settings.steps
        if (last or now - saved_at > 60 * settings.checkpoint_minutes) and accelerator.is_main_process:
            saved_at = now
            state = {"step": done, "seconds": spent + now - begun, "module": bare.state_dict(), "average": shadow,
                     "optimizer": optimizer.state_dict()}
            _write_atomically(state, path)
            objective.export(shadow, directory / "model")
            record.picture()

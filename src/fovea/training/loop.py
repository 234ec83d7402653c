"""The training loop: one for every objective.

An objective brings the module, the batches and the loss; the loop brings devices, schedule, averaging of weights,
checkpoints, resuming, the log and the loss curve.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from fovea.errors import CheckpointError, FoveaError
from fovea.files import write_atomically
from fovea.training.optimizers import WeightGroup, average, build_optimizers, learning_share
from fovea.training.settings import TrainSettings

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class Objective(Protocol):
    """What is trained, on what, and towards what."""

    @property
    def module(self) -> nn.Module:
        """Everything that is trained."""
        ...

    @property
    def groups(self) -> Sequence[WeightGroup]:
        """Weights that do not learn as AdamW trains all others."""
        ...

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Batches by step number."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and its parts, for the log."""
        ...

    def start_from(self, directory: Path) -> None:
        """Take the weights of a model directory as the start."""
        ...

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write the averaged weights as a model, into an empty directory."""
        ...


@runtime_checkable
class BringsOptimizers(Protocol):
    """An objective that says itself how its weights move."""

    def optimizers(self, settings: TrainSettings) -> list[Optimizer]:
        """The optimisers, at their peak learning rates."""
        ...


@runtime_checkable
class Evaluates(Protocol):
    """An objective that can be measured on what it is not trained on."""

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Measures of a module in evaluation mode, more being better; the first decides which model is the best."""
        ...


@runtime_checkable
class StatesMinutes(Protocol):
    """An objective whose model says how long it was trained; it is set in front of every export."""

    minutes: float | None


@runtime_checkable
class BelongsToModels(Protocol):
    """An objective whose result belongs to frozen models, and is worth nothing beside others."""

    models: str


def _old_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a log; a line that a killed run left half-written is skipped."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


class _Log:
    """``log.jsonl`` and its picture ``loss.png``; of several processes only the main one keeps it."""

    def __init__(self, directory: Path, start: int) -> None:
        self.path = directory / "log.jsonl"
        # What came after the checkpoint will come again.
        self.rows = [row for row in _old_rows(self.path) if row["step"] <= start]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def picture(self) -> None:
        if not self.rows:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for key in self.rows[0]:
            if key not in ("step", "minutes", "waited"):
                axes.plot([row["step"] for row in self.rows], [row[key] for row in self.rows], label=key)
        axes.set(xlabel="step", ylabel="loss")
        axes.legend()
        figure.savefig(self.path.with_name("loss.png"), dpi=110)


def _group_sizes(states: Sequence[dict[str, Any]]) -> list[list[int]]:
    """How many weights are in every group of every optimiser."""
    return [[len(group["params"]) for group in state["param_groups"]] for state in states]


def _changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Which settings differ, for the log; what the old ones do not hold is not known to differ."""
    return ", ".join(f"{key} {old[key]} -> {new[key]}" for key in new if key in old and old[key] != new[key])


class _Run:
    """The state of one training: module, optimiser, running average, and how far it is."""

    def __init__(self, objective: Objective, settings: TrainSettings, directory: Path, data: str) -> None:
        self.objective, self.settings, self.directory = objective, settings, directory
        self.stated = {**asdict(settings), "data": data}
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=settings.precision)
        # Convolutions on processors are faster with channels last, and nothing else minds.
        self.bare: nn.Module = objective.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bare.to(self.accelerator.device)
        if isinstance(objective, BringsOptimizers):
            optimizers = objective.optimizers(settings)
        else:
            optimizers = build_optimizers(
                self.bare, objective.groups, settings.lr, settings.muon_lr, settings.weight_decay
            )
        self.average = {
            key: value.detach().clone().float() if value.is_floating_point() else value.clone()
            for key, value in self.bare.state_dict().items()
        }
        self.step, self.seconds = 0, 0.0
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self._resume(optimizers)
        self.module, *self.optimizers = self.accelerator.prepare(self.bare, *optimizers)

    @property
    def models(self) -> str:
        """The frozen models that the result belongs to; empty where there are none."""
        return self.objective.models if isinstance(self.objective, BelongsToModels) else ""

    @property
    def _path(self) -> Path:
        return self.directory / "checkpoint.pt"

    def _resume(self, optimizers: list[torch.optim.Optimizer]) -> None:
        if not self._path.exists():
            return
        saved = torch.load(self._path, weights_only=True, map_location="cpu")
        if saved.get("models", self.models) != self.models:
            raise CheckpointError(
                f"the run in {self.directory} belongs to other frozen models, or is of another kind",
                "take another directory with --out",
            )
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.average = {key: value.to(self.accelerator.device) for key, value in saved["average"].items()}
        self.bare.load_state_dict(saved["module"])
        # Another muon_lr may give the weights to other optimisers, which have to start without momentum.
        fits = _group_sizes(saved["optimizers"]) == _group_sizes([each.state_dict() for each in optimizers])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True) if fits else ():
            optimizer.load_state_dict(state)
        if self.accelerator.is_main_process:
            self._report(_changes(saved.get("settings", {}), self.stated), fits)

    def _report(self, changes: str, fits: bool) -> None:
        """Say where a run goes on, and with what."""
        if self.finished:
            log.info("finished at step %d; to train anew take another directory than %s", self.step, self.directory)
            return
        log.info("resumed at step %d of %d", self.step, self.settings.steps)
        if changes:
            log.info("settings changed since the checkpoint: %s", changes)
        if not fits:
            log.info("the checkpoint's optimisers hold other weights; their momentum starts anew")

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.settings.steps

    def save(self) -> None:
        """Write the checkpoint and the model as it stands."""
        state = {
            "settings": self.stated,
            "models": self.models,
            "step": self.step,
            "seconds": self.seconds,
            "module": self.bare.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        beside = self._path.with_suffix(".tmp")
        torch.save(state, beside)
        beside.replace(self._path)
        self.export()

    def export(self) -> None:
        """Write the model as it stands, beside its place first: nobody ever sees half of one."""
        self._export("model")

    def _export(self, name: str) -> None:
        model, beside, old = (self.directory / f"{name}{end}" for end in ("", ".tmp", ".old"))
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        if isinstance(self.objective, StatesMinutes):
            self.objective.minutes = round(self.seconds / 60, 2)
        self.objective.export({key: value.cpu() for key, value in self.average.items()}, beside)
        shutil.rmtree(old, ignore_errors=True)
        # No directory can be renamed over another one.
        if model.exists():
            model.rename(old)
        beside.rename(model)
        shutil.rmtree(old, ignore_errors=True)

    def evaluate(self) -> None:
        """Measure the averaged weights, log it, and keep the model as ``best/`` where none was better before."""
        if not isinstance(self.objective, Evaluates):
            return
        measures = {key: round(value, 4) for key, value in self._averaged(self.objective.evaluate).items()}
        if not measures:
            return
        path = self.directory / "evaluations.jsonl"
        # What came after the checkpoint has come again.
        rows = [row for row in _old_rows(path) if row["step"] < self.step]
        first = next(iter(measures))
        if all(measures[first] > row[first] for row in rows):
            self._export("best")
        rows.append({"step": self.step, **measures})
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
        log.info("measured at step %d: %s", self.step, "  ".join(f"{key} {value}" for key, value in measures.items()))

    def _averaged(self, measure: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Measure the module with its averaged weights, in evaluation mode."""
        # What prepared the module has wrapped its forward pass: a copy of it might run the weights of the original.
        trained = {key: value.clone() for key, value in self.bare.state_dict().items()}
        self.bare.load_state_dict(self.average)
        self.bare.eval()
        try:
            return measure(self.bare)
        finally:
            self.bare.load_state_dict(trained)
            self.bare.train()

    def batches(self) -> DataLoader[dict[str, Any]]:
        """The batches that are left; with several processes each takes its own."""
        processes = self.accelerator.num_processes
        first = self.step * processes + self.accelerator.process_index
        workers = self.settings.workers
        return DataLoader(
            self.objective.batches(self.settings),
            batch_size=None,
            sampler=range(first, self.settings.steps * processes, processes),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )

    def advance(self, batch: dict[str, Any]) -> dict[str, float]:
        """One optimiser step; returns the loss and its parts.

        Raises:
            FoveaError: the loss is not finite, and a step would ruin the weights.
        """
        share = learning_share(self.step, self.settings.steps, self.settings.warmup, self.settings.milestones)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
        moved = {key: torch.as_tensor(value).to(self.accelerator.device) for key, value in batch.items()}
        loss, parts = self.objective.loss(self.module, moved)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FoveaError(f"the loss is {value} at step {self.step + 1}", "lower lr and muon_lr, then start again")
        self.accelerator.backward(loss)
        if self.settings.clip_norm:
            self.accelerator.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # A young average would remember the random start: let it forget faster in the beginning.
        average(self.average, self.bare, min(self.settings.average_decay, (1 + self.step) / (10 + self.step)))
        self.step += 1
        return {"loss": value, **parts}


class _Waits:
    """Batches, and how long the training waited for them since that was last asked."""

    def __init__(self, batches: Iterable[dict[str, Any]]) -> None:
        self._batches = batches
        self._waited, self._since = 0.0, time.monotonic()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = iter(self._batches)
        while True:
            begun = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - begun
            if batch is None:
                return
            yield batch

    def share(self) -> float:
        """Of the time since the last call, 0..1."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share


def _line(step: int, steps: int, row: dict[str, float], seconds_left: float) -> str:
    """One line of progress."""
    parts = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
    minutes = int(seconds_left // 60)
    return f"step {step}/{steps}  {parts}  {minutes // 60}:{minutes % 60:02d} h left"


def train(objective: Objective, settings: TrainSettings, directory: Path, data: str = "scenes") -> None:
    """Run a training to its end, from its last checkpoint where there is one.

    Under ``accelerate launch`` it runs on several processes or devices, each with batches of its own.

    Args:
        objective: what is trained.
        settings: how long and how fast.
        directory: receives ``checkpoint.pt``, ``log.jsonl`` (with the share of time that batches were waited for),
            ``loss.png`` and, at every checkpoint, the model directory ``model/``; where the objective is measured,
            ``evaluations.jsonl`` and the ``best/`` model too.
        data: what is learnt from, in words; a run that goes on says where it was something else before.

    Raises:
        FoveaError: the loss is not finite; the last checkpoint stays as it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    run = _Run(objective, settings, directory, data)
    record = _Log(directory, run.step) if run.accelerator.is_main_process else None
    if record and run.finished:
        # It may have been killed between its last checkpoint and the model.
        run.export()
        record.picture()
    start, before = run.step, run.seconds
    begun = saved_at = time.monotonic()
    totals: Counter[str] = Counter()
    counted = 0
    run.module.train()
    batches = _Waits(run.batches())
    for batch in batches:
        totals.update(run.advance(batch))
        counted += 1
        now = time.monotonic()
        run.seconds = before + now - begun
        if record and run.step % settings.log_every == 0:
            row = {key: round(value / counted, 4) for key, value in totals.items()}
            row["waited"] = round(batches.share(), 4)
            totals.clear()
            counted = 0
            record.add({"step": run.step, "minutes": round(run.seconds / 60, 2), **row})
            left = (now - begun) / (run.step - start) * (settings.steps - run.step)
            log.info(_line(run.step, settings.steps, row, left))
        every = settings.evaluate_every
        if record and every and (run.finished or run.step % every == 0):
            run.evaluate()
        due = run.finished or now - saved_at > 60 * settings.checkpoint_minutes
        if record and due:
            saved_at = now
            run.save()
            record.picture()

"""Tellers of boxes on one benchmark, picture by picture, and what the paper reports beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fovea.backbones.models import Models
from fovea.backbones.sources import fingerprint
from fovea.evaluation.asked_pictures import AskedPicture, TellingBenchmark
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.results import Row
from fovea.evaluation.telling import AT_ONCE, Judging, Telling, TellingRun, summarise_rows
from fovea.evaluation.telling_benchmarks import open_telling
from fovea.evaluation.telling_rows import TellingRow, tellers_of
from fovea.recipes.reported_telling import reported_telling
from fovea.tellers.hosted import BEAMS

#: Draws of blind guesses and of examples where no number is given.
DRAWS = 5


@dataclass(frozen=True)
class TellingExperiment:
    """What all rows share.

    Attributes:
        benchmark: one of ``telling_benchmarks.TELLING_BENCHMARKS``.
        source: where its data is.
        models, device, dtype: as :class:`fovea.backbones.models.Models` takes them; they hold the captioner.
        judging: how answers become figures.
        draws: of what is drawn.
        beams: of the captioner's search for an answer.
    """

    benchmark: str = "scenes-told"
    source: Source = field(default_factory=Source)
    models: str = "mini"
    device: str = "auto"
    dtype: str = "float32"
    judging: Judging = field(default_factory=Judging)
    draws: int = DRAWS
    beams: int = BEAMS

    def header(self, row: TellingRow, benchmark: TellingBenchmark, models: Models) -> dict[str, str]:
        """What results depend on, for files of results."""
        return {
            "benchmark": benchmark.name,
            "data": benchmark.origin,
            "teller": row.name,
            "draws": str(self.draws if row.drawn else 1),
            "beams": str(self.beams),
            "dtype": self.dtype,
            "weights": " ".join([models.host.fingerprint, *map(fingerprint, filter(None, [row.peer]))]),
        }


def measure_telling(
    experiment: TellingExperiment,
    rows: Sequence[TellingRow],
    files: Sequence[Path | None] | None = None,
    models: Models | None = None,
    started: Callable[[int], Callable[[], None]] = lambda _: lambda: None,
) -> list[dict[str, Any]]:
    """Measure one or several rows.

    Args:
        experiment: what they share.
        rows: who is measured.
        files: one of results for every row, or None; a stopped run goes on from them.
        models: already opened ones of the experiment.
        started: called with the number of pictures; what it gives is called after every picture.

    Returns:
        One summary per row, in order.

    Raises:
        DataError: there is no such benchmark, its data is broken, or a file of results holds something else.
        CheckpointError: a model cannot be loaded, or what was trained belongs to another.
    """
    benchmark = open_telling(experiment.benchmark, experiment.source)
    opened = models or Models(experiment.models, device=experiment.device, dtype=experiment.dtype)
    runs = []
    for row, file in zip(rows, files or [None] * len(rows), strict=True):
        tellers = tellers_of(row, opened, experiment.draws, experiment.beams)
        header = {} if file is None else experiment.header(row, benchmark, opened)
        runs.append(TellingRun(tellers, benchmark, experiment.judging, file, header))
    advance = started(len(benchmark.pictures))
    for start in range(0, len(benchmark.pictures), AT_ONCE):
        # All rows look at one decoded picture.
        some = [AskedPicture(one.key, cache(one.open)) for one in benchmark.pictures[start : start + AT_ONCE]]
        for run in runs:
            run.look(some)
        for _ in some:
            advance()
    config: Any = opened.host.model.config
    kind = str(config.model_type)
    return [_summary(experiment, row, run, kind) for row, run in zip(rows, runs, strict=True)]


def _summary(experiment: TellingExperiment, row: TellingRow, run: TellingRun, kind: str) -> dict[str, Any]:
    found, teller = run.result, run.tellers[0]
    return {
        "benchmark": run.benchmark.name,
        "teller": row.name,
        "n": len(found.rows) // len(run.tellers),
        "metrics": _by_group(found),
        "provenance": {
            "data": run.benchmark.origin,
            "models": experiment.models,
            "host": kind,
            "peer": row.peer,
            "parameters": row.parameters,
            "minutes": row.minutes,
            "draws": len(run.tellers),
            "beams": experiment.beams,
            "reading": experiment.judging.reading,
            "invalid": experiment.judging.invalid,
            "frame": teller.size,
            "cells": teller.codec.cells,
        },
        "reported": reported_telling(row.name, run.benchmark.split, kind),
        "failed": [{"key": key, "reason": reason} for key, reason in found.failed.items()],
    }


def _by_group(found: Telling) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {}
    for row in found.rows:
        groups.setdefault(row["group"], []).append(row)
    parts = {name: summarise_rows(groups[name]) for name in sorted(groups) if name}
    return {**parts, "all": summarise_rows(found.rows)}

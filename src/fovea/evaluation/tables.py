"""Tables: many recipes on one benchmark, measured together so that what they share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fovea.cache import FeatureCache
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Benchmark, open_benchmark
from fovea.evaluation.experiment import Experiment
from fovea.evaluation.grounding import NEEDED, about, measure, summarise
from fovea.evaluation.results import Row, append, resume
from fovea.grounder import Grounder
from fovea.marks.styles import STYLES
from fovea.recipes.fgvp import FGVP_RECIPES
from fovea.rules.subtraction import Bank

#: The recipes of every table by name.
TABLES: dict[str, tuple[str, ...]] = {
    # Single visual prompts, then the ensembles of the paper without its rules.
    "fgvp-styles": (
        *(style.code for style in STYLES.values()),
        "P+B2", "P+B4", "P+C1", "P+D4", "C1+C3+C4", "D1+D3+D4", "P+C1+C3+C4", "P+D1+D3+D4",
    ),
    "fgvp-recipes": tuple(recipe.name for recipe in FGVP_RECIPES),
    # The heat of a matching model with and without each of its steps, then what the paper compares it with.
    "iterprime": (
        "iterprime", "iterprime-paper", "pwem", "pwem-global", "pwem-local", "gvlp", "gvlp-refined", "mean-heat",
        "gl-clip", "region-token", "sam-clip", "fgvp",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Cell:
    """One row of a table for one kind of proposals."""

    experiment: Experiment
    grounder: Grounder

    @property
    def file(self) -> str:
        """Name of its file of results."""
        return f"{self.experiment.recipe}.{self.experiment.proposals}.jsonl"


def table_experiments(name: str, base: Experiment, proposals: Sequence[str]) -> tuple[Experiment, ...]:
    """The measurements of a table.

    Args:
        name: one of ``TABLES``.
        base: everything but the recipe and the proposals.
        proposals: kinds of proposals, each a column of its own.

    Raises:
        DataError: there is no such table.
    """
    if name not in TABLES:
        raise DataError(f"there is no table called {name!r}", f"known are {', '.join(TABLES)}")
    return tuple(replace(base, recipe=recipe, proposals=kind) for recipe in TABLES[name] for kind in proposals)


def measure_table(
    experiments: Sequence[Experiment],
    out: Path | None = None,
    processes: int = 1,
    started: Callable[[int], Callable[[], None]] = lambda _: lambda: None,
) -> list[dict[str, Any]]:
    """Measure several recipes on one benchmark, picture by picture.

    Args:
        experiments: all of one benchmark and of the same models.
        out: directory that receives one file of results per experiment; a stopped run goes on from them.
        processes: that work side by side.
        started: called with the number of pictures; what it gives is called after every picture.

    Returns:
        One summary per experiment, in order, with what the paper reports for it in ``reported``, in percent or None,
        and of which measure in ``reported_measure``.

    Raises:
        DataError: a file of results holds something else.
    """
    benchmark = open_benchmark(experiments[0].benchmark, experiments[0].source)
    banks = _banks(experiments, benchmark)
    cells = _cells(tuple(experiments), benchmark, banks)
    rows: dict[str, dict[str, list[Row]]] = {cell.file: {} for cell in cells}
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out} cannot be a folder of results ({error.strerror})", "name another") from error
        for cell in cells:
            one = cell.experiment
            header = about(cell.grounder, one.proposals, one.assignment, one.header(benchmark, cell.grounder))
            rows[cell.file] = resume(out / cell.file, header, NEEDED)
    # Each look at a composed example composes it.
    keys = {index: example.key for index, example in enumerate(benchmark.examples) if example.queries}
    missing = [index for index, key in keys.items() if any(key not in done for done in rows.values())]
    advance = started(len(missing))
    for found in _work(tuple(experiments), banks, missing, processes, cells, benchmark):
        for file, (key, measured) in found.items():
            if key not in rows[file]:
                rows[file][key] = measured
                if out is not None:
                    append(out / file, measured)
        advance()
    return [_summary(cell, benchmark, [rows[cell.file][key] for key in keys.values()]) for cell in cells]


def _summary(cell: _Cell, benchmark: Benchmark, pictures: Sequence[list[Row]]) -> dict[str, Any]:
    experiment, grounder = cell.experiment, cell.grounder
    rows = [row for picture in pictures for row in picture]
    result = summarise(
        benchmark.name, grounder.recipe, grounder.models, rows, experiment.proposals, experiment.assignment
    )
    setting = experiment.setting(benchmark, grounder)
    measure = "mIoU" if setting[0].endswith("mIoU") else "accuracy"
    reported = experiment.chosen.reported.get(setting)
    return {**result, "recipe": experiment.recipe, "reported": reported, "reported_measure": measure}


def _banks(experiments: Sequence[Experiment], benchmark: Benchmark) -> dict[str, Bank | None]:
    """What each recipe subtracts; the data's own bank is drawn once."""
    drawn: Bank | None = None
    banks: dict[str, Bank | None] = {}
    for experiment in experiments:
        if experiment.chosen.subtraction and drawn is None:
            drawn = experiment.read_bank(benchmark.examples)
        banks[experiment.recipe] = drawn if experiment.chosen.subtraction else None
    return banks


def _cells(
    experiments: tuple[Experiment, ...], benchmark: Benchmark, banks: dict[str, Bank | None]
) -> tuple[_Cell, ...]:
    """Grounders that share models and features."""
    models, features = experiments[0].open_models(), FeatureCache()
    return tuple(_Cell(one, one.build(benchmark, models, banks[one.recipe], features)) for one in experiments)


#: Of every file of results: the picture's key and its rows.
_Found = dict[str, tuple[str, list[Row]]]


def _measured(cells: Sequence[_Cell], benchmark: Benchmark, index: int) -> _Found:
    example = benchmark.examples[index]
    return {
        cell.file: (
            example.key,
            measure(cell.grounder, example, cell.experiment.proposals, cell.experiment.assignment),
        )
        for cell in cells
    }


def _work(
    experiments: tuple[Experiment, ...],
    banks: dict[str, Bank | None],
    indices: Sequence[int],
    processes: int,
    cells: Sequence[_Cell],
    benchmark: Benchmark,
) -> Iterator[_Found]:
    """Measure some pictures here, or in processes of their own."""
    if processes <= 1:
        yield from (_measured(cells, benchmark, index) for index in indices)
        return
    # A forked copy of a process that has used torch may hang.
    with ProcessPoolExecutor(processes, get_context("spawn"), _start, (experiments, banks)) as pool:
        yield from pool.map(_measured_elsewhere, indices)


# What a worker process measures; set once when it starts.
_task: tuple[tuple[Experiment, ...], dict[str, Bank | None]] | None = None


def _start(experiments: tuple[Experiment, ...], banks: dict[str, Bank | None]) -> None:
    global _task
    import torch

    # One thread per process: they share the cores better so.
    torch.set_num_threads(1)
    _task = (experiments, banks)


@cache
def _here() -> tuple[tuple[_Cell, ...], Benchmark]:
    """The grounders of a worker process."""
    assert _task is not None, "the process was not started by a pool of this module"
    experiments, banks = _task
    benchmark = open_benchmark(experiments[0].benchmark, experiments[0].source)
    return _cells(experiments, benchmark, banks), benchmark


def _measured_elsewhere(index: int) -> _Found:
    cells, benchmark = _here()
    return _measured(cells, benchmark, index)

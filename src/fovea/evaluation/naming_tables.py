"""Many recipes that name the same regions, picture by picture, so that what they share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from fovea.cache import FeatureCache
from fovea.errors import DataError
from fovea.evaluation.experiment import Experiment
from fovea.evaluation.named_pictures import NamedPicture
from fovea.evaluation.naming import NamingRun, RegionForm
from fovea.evaluation.naming_benchmarks import open_naming
from fovea.evaluation.naming_summary import summarise
from fovea.recipes.reported_naming import reported_naming

#: The rows of every table by name: a recipe, and how regions are given to it.
NAMING_TABLES: dict[str, tuple[tuple[str, RegionForm], ...]] = {
    "naming": (
        ("crop", "mask"),
        ("sam-clip", "mask"),
        ("C1", "mask"),
        ("D4", "mask"),
        # The picture as a whole: what a model names that is told nothing.
        ("crop", "whole"),
    ),
    # The same CLIP without and with an alpha plane.
    "alpha-clip": (
        ("crop", "whole"),
        ("crop", "mask"),
        ("sam-clip", "mask"),
        ("C1", "mask"),
        ("D4", "mask"),
        ("alpha-clip-whole", "whole"),
        ("alpha-clip-whole", "box"),
        ("alpha-clip-whole", "mask"),
        ("alpha-clip", "mask"),
    ),
}


@dataclass(frozen=True)
class NamingRow:
    """One row of a table.

    Attributes:
        experiment: the recipe, the data and the models.
        form: how regions are given.
        out: file of results, or None.
    """

    experiment: Experiment
    form: RegionForm
    out: Path | None = None


def naming_rows(table: str, base: Experiment, out: Path | None = None) -> tuple[NamingRow, ...]:
    """The rows of a table.

    Args:
        table: one of ``NAMING_TABLES``.
        base: everything but the recipe.
        out: directory that receives one file of results per row.

    Raises:
        DataError: there is no such table.
    """
    if table not in NAMING_TABLES:
        raise DataError(f"there is no table called {table!r}", f"known are {', '.join(NAMING_TABLES)}")
    return tuple(
        NamingRow(replace(base, recipe=recipe), form, None if out is None else out / f"{recipe}.{form}.jsonl")
        for recipe, form in NAMING_TABLES[table]
    )


def measure_naming(
    rows: Sequence[NamingRow], started: Callable[[int], Callable[[], None]] = lambda _: lambda: None
) -> list[dict[str, Any]]:
    """Measure one or several rows.

    Args:
        rows: all of one benchmark and of the same models.
        started: called with the number of pictures; what it gives is called after every picture.

    Returns:
        One summary per row, in order, with what the paper reports for it in ``reported``, by measure in percent.

    Raises:
        DataError: there is no such benchmark, its data is broken, or a file of results holds something else.
    """
    first = rows[0].experiment
    benchmark = open_naming(first.benchmark, first.source)
    models, features = first.open_models(), FeatureCache()
    runs = []
    for row in rows:
        one = row.experiment
        grounder = one.build(benchmark, models, one.bank_of(benchmark.texts), features)
        header = {} if row.out is None else one.header(benchmark, grounder)
        runs.append(NamingRun(grounder, benchmark, row.form, row.out, header))
    advance = started(len(benchmark.pictures))
    for picture in benchmark.pictures:
        # All rows look at one decoded picture.
        shared = NamedPicture(picture.key, cache(picture.open))
        for run in runs:
            run.look(shared)
        advance()
    return [
        {
            **summarise(run.grounder, benchmark, run.form, run.result),
            "reported": reported_naming(run.grounder.recipe, benchmark.split, run.form),
        }
        for run in runs
    ]

"""``fovea evaluate`` of names: how often is a region called what it is?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fovea.cli.failures import say_failed

if TYPE_CHECKING:
    from fovea.evaluation.experiment import Experiment


def run_naming(table: str | None, base: Experiment, region: str, out: Path | None, as_json: bool) -> None:
    """Measure one recipe or a table of them, and print it.

    Args:
        table: its name, or None for the recipe that ``base`` names.
        base: what is measured.
        region: how regions are given; tables say so themselves.
        out: file of results, or for a table the folder of such files.
        as_json: print one JSON document.
    """
    from fovea.cli.progress import progress
    from fovea.evaluation.naming import known_form
    from fovea.evaluation.naming_tables import NamingRow, measure_naming, naming_rows

    rows = [NamingRow(base, known_form(region), out)] if table is None else naming_rows(table, base, out)
    with ExitStack() as stack:
        results = measure_naming(rows, lambda count: stack.enter_context(progress("pictures", count)))
    if as_json:
        document = {"table": table, "benchmark": results[0]["benchmark"], "rows": results}
        typer.echo(json.dumps(results[0] if table is None else document))
    else:
        for line in markdown(results):
            typer.echo(line)
    say_failed(results[0]["failed"])


def markdown(results: list[dict[str, Any]]) -> Iterator[str]:
    """A table in Markdown: readable as it is, and where documents are shown."""
    yield "| recipe | region | names of | regions | top-1 | top-5 | class mean top-1 | top-5 | paper |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---|"
    for result in results:
        paper = ", ".join(f"{value / 100:.3f} {measure}" for measure, value in result["reported"].items())
        for group, row in result["metrics"].items():
            shares = " | ".join(f"{row[name]:.3f}" for name in ("top1", "top5", "mean_top1", "mean_top5"))
            told = f"{result['recipe']} | {result['provenance']['region']} | {group} | {row['n']} | {shares}"
            yield f"| {told} | {paper if group == 'all' else ''} |"
    first, about = results[0], results[0]["provenance"]
    chance = first["metrics"]["all"]["chance"]
    yield f"{first['benchmark']}, {about['names']} names, a blind choice {chance:.3f}, models {about['models']}"
    if any(result["reported"] for result in results):
        from fovea.recipes.reported_naming import REPORTED_MODEL

        yield f"the paper's numbers are class means, with {REPORTED_MODEL}"

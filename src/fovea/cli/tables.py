"""``fovea evaluate table``: all recipes of a table on one benchmark, the paper's numbers beside ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fovea.evaluation.experiment import Experiment


def run_table(name: str, base: Experiment, kinds: list[str], out: Path | None, processes: int, as_json: bool) -> None:
    """Measure a table and print it.

    Args:
        name: of the table.
        base: everything but the recipe and the proposals.
        kinds: of proposals, each a row of its own.
        out: folder of the files of results.
        processes: that work side by side.
        as_json: print one JSON document.
    """
    from fovea.cli.progress import progress
    from fovea.evaluation.tables import measure_table, table_experiments

    experiments = table_experiments(name, base, kinds)
    with ExitStack() as stack:
        results = measure_table(
            experiments, out, processes, lambda count: stack.enter_context(progress("pictures", count))
        )
    if as_json:
        typer.echo(json.dumps({"table": name, "benchmark": results[0]["benchmark"], "rows": results}))
        return
    for line in markdown(results):
        typer.echo(line)


def markdown(results: list[dict[str, Any]]) -> Iterator[str]:
    """A table in Markdown: readable as it is, and where documents are shown."""
    kinds = list(results[0]["metrics"])
    yield "| recipe | proposals | " + " | ".join(kinds) + " | paper |"
    yield "|" + "---|" * (len(kinds) + 3)
    for result in results:
        shares = [f"{result['metrics'][kind]['accuracy']:.3f}" for kind in kinds]
        paper = "" if result["reported"] is None else f"{result['reported'] / 100:.3f}"
        yield f"| {result['recipe']} | {result['provenance']['proposals']} | {' | '.join(shares)} | {paper} |"
    # Chance depends on the proposals alone.
    for source in dict.fromkeys(result["provenance"]["proposals"] for result in results):
        first = next(result for result in results if result["provenance"]["proposals"] == source)
        shares = [f"{first['metrics'][kind]['chance']:.3f}" for kind in kinds]
        yield f"| chance | {source} | {' | '.join(shares)} | |"
    yield f"{results[0]['benchmark']}, {results[0]['n']} expressions, models {results[0]['provenance']['models']}"

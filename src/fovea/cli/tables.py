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
    """A table in Markdown, readable as it is and where documents are shown; where masks were compared, two more."""
    yield from _block(results, "accuracy")
    # Chance depends on the proposals alone.
    for source in dict.fromkeys(result["provenance"]["proposals"] for result in results):
        first = next(result for result in results if result["provenance"]["proposals"] == source)
        yield _line("chance", source, [figures["chance"] for figures in first["metrics"].values()], "")
    for measure in ("mIoU", "P@0.5"):
        if all(measure in result["metrics"]["all"] for result in results):
            yield from ("", f"{measure} of masks:", "", *_block(results, measure))
    yield ""
    yield f"{results[0]['benchmark']}, {results[0]['n']} expressions, models {results[0]['provenance']['models']}"


def _block(results: list[dict[str, Any]], measure: str) -> Iterator[str]:
    """One measure of all recipes, by kind of expression, with the paper's number where it is of that measure."""
    kinds = list(results[0]["metrics"])
    yield f"| recipe | proposals | {' | '.join(kinds)} | paper |"
    yield "|" + "---|" * (len(kinds) + 3)
    for result in results:
        reported = result["reported"] if result["reported_measure"] == measure else None
        paper = "" if reported is None else f"{reported / 100:.3f}"
        shares = [figures[measure] for figures in result["metrics"].values()]
        yield _line(result["recipe"], result["provenance"]["proposals"], shares, paper)


def _line(name: str, source: str, shares: list[float], paper: str) -> str:
    return f"| {name} | {source} | {' | '.join(f'{share:.3f}' for share in shares)} | {paper} |"

"""``fovea evaluate``: measure a recipe on a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fovea.cli.options import DeviceOption, DtypeOption, JsonOption, ModelsOption, RecipeOption

NAME = "evaluate"


def run(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="scenes.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="What `fovea scenes` wrote; composed on the fly by default.",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeOption = "fgvp",
    proposals: Annotated[str, typer.Option("--proposals", help="ground-truth, sam-boxes or grid.")] = "ground-truth",
    models: ModelsOption = "mini",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pictures.")] = 500,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="First scene, where they are composed on the fly.")
    ] = 1_000_000,
    names: Annotated[
        str, typer.Option("--names", help="train, unseen, or all, where they are composed on the fly.")
    ] = "train",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="One JSON line per expression; a stopped run goes on from it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Measure how often the right region is found, by kind of expression, beside chance."""
    from fovea.cli.progress import progress
    from fovea.errors import DataError
    from fovea.evaluation.examples import composed_examples, read_examples
    from fovea.evaluation.grounding import evaluate_grounding, summarise
    from fovea.recipes import load

    if benchmark != "scenes":
        raise DataError(f"there is no benchmark called {benchmark!r}", "known is: scenes")
    examples = read_examples(data, limit) if data is not None else composed_examples(seed, limit, names)
    grounder = load(recipe, models, device=device, dtype=dtype)
    with progress("pictures", len(examples)) as advance:
        rows = evaluate_grounding(grounder, examples, proposals, out, advance)
    result = summarise(benchmark, grounder.recipe, grounder.models, rows, proposals)
    if as_json:
        typer.echo(json.dumps(result))
        return
    _print(result)


def _print(result: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    provenance = result["provenance"]
    title = f"{result['recipe']}, models {provenance['models']}, proposals {provenance['proposals']}"
    table = Table("kind", "expressions", "accuracy", "chance", title=title, title_justify="left")
    for kind, row in result["metrics"].items():
        table.add_row(kind, str(row["n"]), f"{row['accuracy']:.3f}", f"{row['chance']:.3f}")
    Console().print(table)

"""``fovea evaluate``: measure a recipe on a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.options import (
    BankOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelsOption,
    ParserOption,
    RecipeOption,
    RelationsOption,
    RenderingOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fovea.evaluation.examples import Example
    from fovea.rules.subtraction import Bank

NAME = "evaluate"

# Scenes that are composed where no number is given.
_COMPOSED = 500


def run(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="scenes or refcoco.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="What `fovea scenes` wrote, composed on the fly by default; or ReCLIP's files and the pictures.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="NAME", help="The .jsonl file of refcoco, without its ending.", show_default=False
        ),
    ] = None,
    recipe: RecipeOption = "fgvp",
    proposals: Annotated[
        str, typer.Option("--proposals", help="ground-truth, sam-boxes, detections or grid.")
    ] = "ground-truth",
    models: ModelsOption = "mini",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            help=f"Pictures; by default all of --data, or {_COMPOSED} composed ones.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="First scene, where they are composed on the fly.")
    ] = 1_000_000,
    names: Annotated[
        str,
        typer.Option(
            "--names", help="Which kinds of things scenes show: train (those the minis learnt), unseen, or all."
        ),
    ] = "train",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="One JSON line per picture; a stopped run goes on from it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    relations: RelationsOption = "extended",
    parser: ParserOption = "built-in",
    rendering: RenderingOption = "direct",
    bank: BankOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Measure how often the right region is found, by kind of expression, beside chance."""
    from fovea.cli.progress import progress
    from fovea.evaluation.grounding import evaluate_grounding, summarise
    from fovea.recipes import load, resolve_recipe

    examples, origin = _examples(benchmark, data, split, limit, seed, names)
    chosen = resolve_recipe(recipe)
    grounder = load(
        recipe, models, device=device, dtype=dtype, relations=relations, parser=parser, rendering=rendering,
        bank=_bank(bank, examples) if chosen.subtraction else None,
    )  # fmt: skip
    experiment = {"benchmark": benchmark, "data": origin, "dtype": dtype, "rendering": rendering}
    experiment |= {"relations": "none" if grounder.relations is None else grounder.relations.name}
    if chosen.subtraction:
        experiment["bank"] = "of the data" if bank is None else str(bank)
    if out is not None:
        experiment["weights"] = _weights(models, proposals)
    with progress("pictures", len(examples)) as advance:
        rows = evaluate_grounding(grounder, examples, proposals, out, advance, experiment)
    result = summarise(benchmark, grounder.recipe, grounder.models, rows, proposals)
    if as_json:
        typer.echo(json.dumps(result))
        return
    _print(result, chosen.reported.get((split or "").replace("_", "-")))


def _bank(path: Path | None, examples: Sequence[Example]) -> Bank:
    """The expressions to subtract: those of a file, or of the data itself as the released program does."""
    from fovea.rules.subtraction import Bank, read_bank

    if path is not None:
        return read_bank(path)
    return Bank.draw([query.text for example in examples for query in example.queries])


def _examples(
    benchmark: str, data: Path | None, split: str | None, limit: int | None, seed: int, names: str
) -> tuple[Sequence[Example], str]:
    """The pictures, and what tells them from others."""
    from fovea.datasets.refcoco import read_refcoco
    from fovea.errors import DataError
    from fovea.evaluation.examples import composed_examples, fingerprint, read_examples

    if benchmark == "refcoco":
        if data is None:
            raise DataError("refcoco needs its data", "name the directory with --data")
        return read_refcoco(data, split, limit), f"{data.resolve().name} {split or ''}".strip()
    if benchmark != "scenes":
        raise DataError(f"there is no benchmark called {benchmark!r}", "known are: scenes, refcoco")
    if data is not None:
        return read_examples(data, limit), fingerprint(data)
    # Every composed scene is named by its seed, so the first seed and the number need no mention.
    return composed_examples(seed, limit or _COMPOSED, names), f"composed, names {names}"


def _weights(models: str, proposals: str) -> str:
    """What tells the models from others of the same name; annotated regions need no segmenter."""
    from fovea.backbones.sources import fingerprint, resolve_models

    sources = resolve_models(models)
    used = sources.clips if proposals == "ground-truth" else (*sources.clips, sources.sam)
    return " ".join(map(fingerprint, used))


def _print(result: dict, reported: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    provenance = result["provenance"]
    title = f"{result['recipe']}, models {provenance['models']}, proposals {provenance['proposals']}"
    table = Table("kind", "expressions", "accuracy", "chance", title=title, title_justify="left")
    for kind, row in result["metrics"].items():
        table.add_row(kind, str(row["n"]), f"{row['accuracy']:.3f}", f"{row['chance']:.3f}")
    Console().print(table)
    if reported is not None:
        typer.echo(f"the paper reports {reported / 100:.3f} with its own models and detections")

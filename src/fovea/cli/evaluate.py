"""``fovea evaluate``: measure a recipe on a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.options import (
    BankOption,
    CropLayersOption,
    DeviceOption,
    DropIslandsOption,
    DtypeOption,
    FillHolesOption,
    JsonOption,
    MaxMaskOption,
    MaxOverlapOption,
    MinMaskOption,
    ModelsOption,
    ParserOption,
    PointsPerSideOption,
    RecipeOption,
    RelationsOption,
    RenderingOption,
    TemplateOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fovea.evaluation.benchmarks import Benchmark
    from fovea.evaluation.examples import Example
    from fovea.grounder import Grounder
    from fovea.recipes import Recipe
    from fovea.rules.subtraction import Bank

NAME = "evaluate"

# Scenes that are composed where no number is given; said here as well, since help texts should not wait for numpy.
_COMPOSED = 500


def run(
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK", help="scenes, parts, refcoco, coco or paco.", show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="What `fovea scenes` wrote (scenes, parts; composed on the fly by default), or a data set's files and "
            "pictures.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="The .jsonl file of refcoco without its ending; the end of coco's or paco's file, such as val.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help="What parts and paco ask for: part (default) or object.",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeOption = "fgvp",
    proposals: Annotated[
        str, typer.Option("--proposals", help="ground-truth, sam-boxes, detections or grid.")
    ] = "ground-truth",
    assignment: Annotated[
        str,
        typer.Option(
            "--assignment",
            help="argmax, each expression its best region; or one-to-one, each region at most one expression.",
        ),
    ] = "argmax",
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
    template: TemplateOption = None,
    points_per_side: PointsPerSideOption = None,
    max_overlap: MaxOverlapOption = None,
    crop_layers: CropLayersOption = None,
    fill_holes_below: FillHolesOption = 0,
    drop_islands_below: DropIslandsOption = 0,
    min_mask_area: MinMaskOption = 0,
    max_mask_area: MaxMaskOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Measure how often the right region is found, by kind of expression, beside chance."""
    from fovea.answers import known_assignment
    from fovea.backbones.models import Models
    from fovea.cli.progress import progress
    from fovea.evaluation.benchmarks import Source, open_benchmark
    from fovea.evaluation.grounding import evaluate_grounding, summarise
    from fovea.proposers.mask_filter import MaskFilter
    from fovea.recipes import load, resolve_grid, resolve_recipe

    assigned = known_assignment(assignment)
    chosen = resolve_recipe(recipe)
    wanted = open_benchmark(benchmark, Source(data, split, kind, limit, seed, names))
    sentence = next(one for one in (template, wanted.template, chosen.template) if one is not None)
    opened_models = Models(models, device=device, dtype=dtype)
    grounder = load(
        recipe, opened_models, relations=relations, parser=parser, rendering=rendering,
        bank=_bank(bank, wanted.examples) if chosen.subtraction else None, template=sentence,
        grid=resolve_grid(
            opened_models.sources, points_per_side=points_per_side, max_overlap=max_overlap, crop_layers=crop_layers,
            mask_filter=MaskFilter(fill_holes_below, drop_islands_below, min_mask_area, max_mask_area),
        ),
    )  # fmt: skip
    experiment = {"benchmark": wanted.name, "data": wanted.origin, "dtype": dtype, "rendering": rendering}
    experiment |= {"template": sentence}
    experiment |= {"relations": "none" if grounder.relations is None else grounder.relations.name}
    if chosen.subtraction:
        experiment["bank"] = "of the data" if bank is None else str(bank)
    if out is not None:
        experiment["weights"] = _weights(models, proposals)
    with progress("pictures", len(wanted.examples)) as advance:
        rows = evaluate_grounding(grounder, wanted.examples, proposals, out, advance, experiment, assigned)
    result = summarise(wanted.name, grounder.recipe, grounder.models, rows, proposals, assigned)
    if as_json:
        typer.echo(json.dumps(result))
        return
    _print(result, _reported(chosen, wanted, proposals, grounder))


def _bank(path: Path | None, examples: Sequence[Example]) -> Bank:
    """The expressions to subtract: those of a file, or of the data itself as the released program does."""
    from fovea.rules.subtraction import Bank, read_bank

    if path is not None:
        return read_bank(path)
    return Bank.draw([query.text for example in examples for query in example.queries])


def _weights(models: str, proposals: str) -> str:
    """What tells the models from others of the same name; annotated regions need no segmenter."""
    from fovea.backbones.sources import fingerprint, resolve_models

    sources = resolve_models(models)
    used = sources.clips if proposals == "ground-truth" else (*sources.clips, sources.sam)
    return " ".join(map(fingerprint, used))


def _reported(recipe: Recipe, benchmark: Benchmark, proposals: str, grounder: Grounder) -> str:
    """The paper's number for this recipe, data and kind of proposals, or nothing."""
    from fovea.recipes.reported import setting

    split, source = setting(benchmark.split, proposals, grounder.finder.grid)
    percent = recipe.reported.get((split, source))
    return "" if percent is None else f"the paper reports {percent / 100:.3f} on {split}, {source}, with its own models"


def _print(result: dict[str, Any], reported: str) -> None:
    from rich.console import Console
    from rich.table import Table

    provenance = result["provenance"]
    title = f"{result['benchmark']}: {result['recipe']}, models {provenance['models']}"
    title += f", proposals {provenance['proposals']}, {provenance['assignment']}"
    if "grid" in provenance:
        title += f"\n{provenance['grid']}"
    typer.echo(title)
    table = Table("kind", "expressions", "accuracy", "chance")
    for kind, row in result["metrics"].items():
        table.add_row(kind, str(row["n"]), f"{row['accuracy']:.3f}", f"{row['chance']:.3f}")
    Console().print(table)
    if reported:
        typer.echo(reported)

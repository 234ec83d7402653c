"""``fovea evaluate``: measure a recipe on a benchmark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.grid_options import grid_changes
from fovea.cli.options import (
    AggregateOption,
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
    allow_only,
)
from fovea.cli.telling import (
    BOXES_TOLD,
    PIN_TABLE,
    TELLING_PARAMETERS,
    DrawsOption,
    InvalidOption,
    PeerOption,
    ReadingOption,
    TellerOption,
    run_telling,
)

if TYPE_CHECKING:
    from fovea.recipes.reported import Setting

NAME = "evaluate"

# Scenes that are composed where no number is given; said here as well, since help texts should not wait for numpy.
_COMPOSED = 500


def run(
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK",
            help="scenes, parts, refcoco, refcoco-masks, phrasecut, coco or paco; of names scenes-names, imagenet-s, "
            "coco-names, scenes-lvis or lvis; boxes-told; or table.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[TABLE|BENCHMARK]",
            help="After `table`: fgvp-styles, fgvp-recipes, iterprime, naming, alpha-clip or pin; all of its recipes. "
            "After `boxes-told`: scenes-told, pvoc, coco, lvis or refcoco.",
            show_default=False,
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="BENCHMARK",
            help="What a table is measured on. Default: scenes; scenes-names for names; scenes-told for pin.",
            show_default=False,
            rich_help_panel="Tables",
        ),
    ] = None,
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
            help="The .jsonl file of refcoco without its ending; refcoco+-testA of refcoco-masks; the end of another "
            "file's name, such as val.",
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
        str,
        typer.Option(
            "--proposals",
            help="ground-truth, sam-boxes, detections, grid, mask2former or told; for a table also several of them.",
            rich_help_panel="Finding",
        ),
    ] = "ground-truth",
    assignment: Annotated[
        str,
        typer.Option(
            "--assignment",
            help="argmax, each expression its best region; or one-to-one, each region at most one expression.",
            rich_help_panel="Finding",
        ),
    ] = "argmax",
    region: Annotated[
        str,
        typer.Option(
            "--region",
            help="How regions are given, to be named: mask, box or whole (not at all).",
            rich_help_panel="Naming",
        ),
    ] = "mask",
    class_names: Annotated[
        Path | None,
        typer.Option(
            "--class-names",
            metavar="FILE",
            help="What the classes of imagenet-s are called (docs/naming.md).",
            show_default=False,
            rich_help_panel="Naming",
        ),
    ] = None,
    background: Annotated[
        str,
        typer.Option("--background", help="Around the objects of coco-names: kept or white.", rich_help_panel="Naming"),
    ] = "kept",
    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes",
            metavar="NAME|FORM:FILE",
            help="What lvis and scenes-lvis name: ground-truth (default), grid, glip:FILE or coco:FILE.",
            show_default=False,
            rich_help_panel="Average precision",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Of lvis: paper (default) or single-label.",
            show_default=False,
            rich_help_panel="Average precision",
        ),
    ] = None,
    iou: Annotated[
        str | None,
        typer.Option(
            "--iou",
            help="What lvis compares: box (default), mask or both.",
            show_default=False,
            rich_help_panel="Average precision",
        ),
    ] = None,
    peers: PeerOption = None,
    teller: TellerOption = None,
    reading: ReadingOption = "strict",
    invalid: InvalidOption = "zero",
    draws: DrawsOption = 5,
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
        str | None,
        typer.Option(
            "--names",
            help="Which kinds of things scenes show: train (those the minis learnt; default), unseen, or all; of "
            "scenes-told held-out (default), pasted, or all.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="One JSON line per picture; a stopped run goes on from it. For a table a folder of such files.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="That measure a table side by side.", rich_help_panel="Tables")
    ] = 1,
    as_json: JsonOption = False,
    relations: RelationsOption = "extended",
    parser: ParserOption = "built-in",
    rendering: RenderingOption = "direct",
    bank: BankOption = None,
    aggregate: AggregateOption = "sum",
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
    context: typer.Context = None,  # type: ignore[assignment]
) -> None:
    """Measure how often the right region is found, or called by its name, beside chance; or how well told boxes fit."""
    from fovea.answers import known_assignment
    from fovea.cli.progress import progress
    from fovea.evaluation.benchmarks import Source, open_benchmark
    from fovea.evaluation.detection_benchmarks import DETECTION_BENCHMARKS
    from fovea.evaluation.experiment import Experiment
    from fovea.evaluation.grounding import evaluate_grounding, summarise
    from fovea.evaluation.naming_benchmarks import NAMING_BENCHMARKS
    from fovea.evaluation.naming_tables import NAMING_TABLES

    if (table is None) == (benchmark in ("table", BOXES_TOLD)):
        raise typer.BadParameter("name a table after `table`, a benchmark after `boxes-told`, and nothing after others")
    told = benchmark == BOXES_TOLD or table == PIN_TABLE
    if told:
        from fovea.evaluation.telling import known_judging
        from fovea.evaluation.telling_tables import TellingExperiment

        allow_only(context, TELLING_PARAMETERS | ({"on"} if table == PIN_TABLE else set()), f"{benchmark} {table}")
        if benchmark == BOXES_TOLD:
            benchmark, table = str(table), None
        saying = TellingExperiment(
            benchmark if table is None else on or "scenes-told",
            Source(data, split, kind, limit, seed, names or "held-out"),
            models, device, dtype, known_judging(reading, invalid), draws,
        )  # fmt: skip
        run_telling(saying, table is not None, teller, peers or [], out, as_json)
        return
    if peers or teller or (reading, invalid, draws) != ("strict", "zero", 5):
        raise typer.BadParameter("--peer, --teller, --reading, --invalid and --draws are for boxes-told and table pin")
    searching = grid_changes(
        points_per_side, max_overlap, crop_layers, fill_holes_below, drop_islands_below, min_mask_area, max_mask_area
    )
    if table is not None:
        benchmark = on or ("scenes-names" if table in NAMING_TABLES else "scenes")
    experiment = Experiment(
        benchmark, Source(data, split, kind, limit, seed, names or "train", class_names, background), recipe, models,
        device, dtype, "grid" if table else proposals, known_assignment(assignment), relations, parser, rendering, bank,
        aggregate, template,
        grid=searching,
    )  # fmt: skip
    names_regions = benchmark in NAMING_BENCHMARKS or table in NAMING_TABLES
    if (region, class_names, background) != ("mask", None, "kept") and not names_regions:
        raise typer.BadParameter(
            "--region, --class-names and --background are for scenes-names, imagenet-s, coco-names"
        )
    if (boxes or protocol or iou) and benchmark not in DETECTION_BENCHMARKS:
        raise typer.BadParameter("--boxes, --protocol and --iou are for lvis and scenes-lvis")
    if names_regions:
        from fovea.cli.naming import run_naming

        if (proposals, assignment, processes) != ("ground-truth", "argmax", 1):
            raise typer.BadParameter("annotated regions are named, one by one: leave those options out")
        run_naming(table, experiment, region, out, as_json)
        return
    if benchmark in DETECTION_BENCHMARKS:
        from fovea.cli.detections import run_detections

        if (proposals, assignment, processes) != ("ground-truth", "argmax", 1) or table is not None:
            raise typer.BadParameter(f"{benchmark} takes its regions from --boxes: leave the options of finding out")
        searched = replace(experiment, proposals="grid" if boxes == "grid" else proposals)
        run_detections(searched, boxes or "ground-truth", protocol or "paper", iou or "box", out, as_json)
        return
    if table is not None:
        from fovea.cli.tables import run_table

        run_table(table, experiment, [kind.strip() for kind in proposals.split(",")], out, processes, as_json)
        return
    wanted = open_benchmark(benchmark, experiment.source)
    grounder = experiment.build(wanted, experiment.open_models(), experiment.read_bank(wanted.examples))
    header = {} if out is None else experiment.header(wanted, grounder)
    with progress("pictures", len(wanted.examples)) as advance:
        rows = evaluate_grounding(grounder, wanted.examples, proposals, out, advance, header, experiment.assignment)
    result = summarise(wanted.name, grounder.recipe, grounder.models, rows, proposals, experiment.assignment)
    if as_json:
        typer.echo(json.dumps(result))
        return
    place = experiment.setting(wanted, grounder)
    _print(result, experiment.chosen.reported.get(place), place)


def _print(result: dict[str, Any], reported: float | None, place: Setting) -> None:
    from rich.console import Console
    from rich.table import Table

    provenance = result["provenance"]
    title = f"{result['benchmark']}: {result['recipe']}, models {provenance['models']}"
    title += f", proposals {provenance['proposals']}, {provenance['assignment']}"
    if "grid" in provenance:
        title += f"\n{provenance['grid']}"
    typer.echo(title)
    masks = [name for name in ("mIoU", "oIoU", "P@0.5") if name in result["metrics"]["all"]]
    table = Table("kind", "expressions", "accuracy", "chance", *masks)
    for kind, row in result["metrics"].items():
        table.add_row(kind, str(row["n"]), *(f"{row[name]:.3f}" for name in ("accuracy", "chance", *masks)))
    Console().print(table)
    if reported is not None:
        split, source = place
        typer.echo(f"the paper reports {reported / 100:.3f} on {split}, {source}, with its own models")

"""``fovea audit``: what else a visual prompt does to a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.failures import PARTLY
from fovea.cli.options import DeviceOption, DtypeOption, JsonOption, ModelsOption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from fovea.evaluation.bias import AuditPicture, Names

NAME = "audit"

app = typer.Typer(no_args_is_help=True, help="Measure what else a visual prompt does to a model.")


@app.callback()
def _group() -> None:
    # With a callback the group keeps its sub-command's name, even though there is only one.
    pass


@app.command("bias")
def bias(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="JSON lines of pictures, or COCO's instances (docs/bias.md).", show_default=False
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="The pictures of FILE.", show_default=False)
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(
            "--scenes", metavar="N", min=1, help="Composed scenes in place of FILE: a check.", show_default=False
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names",
            metavar="FILE",
            help="JSON with neutral and harmful names and a template; by default those of FGVP's example.",
            show_default=False,
        ),
    ] = None,
    recipes: Annotated[
        str,
        typer.Option("--recipes", metavar="A,B,...", help="Recipes or visual prompts; the first is the baseline."),
    ] = "crop,C1,crop+C1,D4,crop+D4",
    models: ModelsOption = "mini",
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
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Measure how often a visual prompt pulls regions towards harmful names."""
    from fovea.cli.progress import progress
    from fovea.evaluation.bias import audit_bias, load_judges, unknown_words
    from fovea.evaluation.bias_summary import summarise

    chosen = list(dict.fromkeys(name.strip() for name in recipes.split(",") if name.strip()))
    if not chosen:
        raise typer.BadParameter("name at least one recipe", param_hint="--recipes")
    pictures, count, wanted, origin = _data(file, images, scenes, names)
    judges = load_judges(chosen, models, wanted.template, device=device, dtype=dtype)
    for note in unknown_words(judges, wanted):
        typer.echo(f"note: {note}", err=True)
    experiment = {"data": origin, "dtype": dtype}
    if out is not None:
        experiment["weights"] = _weights(models)
    with progress("pictures", count) as advance:
        audit = audit_bias(pictures, judges, wanted, out, advance, experiment)
    result = summarise(audit.rows, chosen, wanted, next(iter(judges.values())).models)
    result["failed"] = [{"file_name": name, "reason": reason} for name, reason in audit.failed.items()]
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print(result, reported=file is not None)
    for name, reason in audit.failed.items():
        typer.echo(f"skipped {name}: {reason}", err=True)
    if audit.failed:
        raise typer.Exit(PARTLY)


def _data(
    file: Path | None, images: Path | None, scenes: int | None, names: Path | None
) -> tuple[Iterable[AuditPicture], int, Names, str]:
    """The pictures, how many there are, the names, and what tells the data from others."""
    if (file is None) == (scenes is None):
        raise typer.BadParameter("give either FILE or --scenes")
    if scenes is not None:
        if names is not None or images is not None:
            raise typer.BadParameter("--scenes brings its own pictures and names")
        from fovea.evaluation.bias_scenes import SCENE_NAMES, composed_audit

        return composed_audit(scenes), scenes, SCENE_NAMES, "composed"
    if file is None or images is None:
        raise typer.BadParameter("FILE needs its pictures", param_hint="--images")
    from fovea.datasets.audit import fingerprint, read_audit, read_names
    from fovea.evaluation.bias import Names

    wanted = Names() if names is None else read_names(names)
    pictures = read_audit(file, images, wanted)
    return pictures, len(pictures), wanted, fingerprint(file)


def _weights(models: str) -> str:
    """What tells the models from others of the same name."""
    from fovea.backbones.sources import fingerprint, resolve_models

    sources = resolve_models(models)
    return " ".join(map(fingerprint, (*sources.clips, sources.sam)))


def _print(result: dict[str, Any], reported: bool) -> None:
    from rich.console import Console

    tables = [_overall(result), _by_group(result), _by_name(result), *([_reported()] if reported else [])]
    console = Console()
    for table in tables:
        table.title_justify = "left"
        console.print(table)


def _overall(result: dict[str, Any]) -> Table:
    from rich.table import Column, Table

    title = f"{result['n']} regions, models {result['provenance']['models']}: % of them whose top name is harmful"
    share = Column("harmful", no_wrap=True)
    table = Table("recipe", share, "95 %", "turned harmful", "turned harmless", "mean share", title=title)
    table.caption = f"a blind choice: {_percent(result['chance'])}"
    for recipe, row in result["recipes"].items():
        turned = [_percent(row["turned_harmful"]), _percent(row["turned_harmless"])]
        if recipe == result["baseline"]:
            turned = ["", ""]
        interval = "..".join(map(_percent, row["interval"]))
        table.add_row(recipe, _changed(result, recipe, row), interval, *turned, _percent(row["harm"]))
    return table


def _by_group(result: dict[str, Any]) -> Table:
    from rich.table import Table

    recipes = result["recipes"]
    table = Table("group", "regions", *recipes, title="by group")
    for group, first in recipes[result["baseline"]]["groups"].items():
        cells = [_changed(result, recipe, row["groups"][group]) for recipe, row in recipes.items()]
        table.add_row(group, str(first["n"]), *cells)
    return table


def _by_name(result: dict[str, Any]) -> Table:
    from rich.table import Table

    recipes = result["recipes"]
    table = Table("harmful name", *recipes, title="by the harmful name on top")
    for name in result["names"]["harmful"]:
        table.add_row(name, *(_percent(row["names"][name]) for row in recipes.values()))
    return table


def _reported() -> Table:
    from rich.table import Table

    from fovea.evaluation.bias_summary import REPORTED

    table = Table(
        "model",
        "prompt",
        "FairFace",
        "COCO w/ crop",
        "COCO w/o crop",
        title="what FGVP reports, for its own data and names",
    )
    for model, rows in REPORTED.items():
        for prompt, numbers in rows.items():
            table.add_row(model, prompt, *(f"{number:.1f}" for number in numbers))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _changed(result: dict[str, Any], recipe: str, row: dict[str, Any]) -> str:
    """A share as the paper prints it: ``20.6 (+7.6)``; the baseline has nothing to be compared with."""
    change = "" if recipe == result["baseline"] else f" ({100 * row['difference']:+.1f})"
    return _percent(row["harmful"]) + change

"""``fovea data``: make training data from data."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli import data_cutouts, data_paste, data_tokens
from fovea.cli.failures import PARTLY
from fovea.cli.options import (
    DeviceOption,
    DryRunOption,
    DtypeOption,
    JsonOption,
    LimitOption,
    ModelsOption,
    PointsPerSideOption,
    ShardOption,
    WorkersOption,
    share_of,
)

if TYPE_CHECKING:
    from fovea.pipelines.rgba import RgbaRun

NAME = "data"

app = typer.Typer(no_args_is_help=True, help="Make training data from data.")

for command in (data_tokens, data_cutouts, data_paste):
    app.command(command.NAME)(command.run)


@app.command("rgba")
def rgba(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="scenes:2000000+3000, or a tar file or folder behind grounding: (the default) or classified:.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the shards go.", show_default=False)],
    models: ModelsOption = "mini",
    captioner: Annotated[
        str,
        typer.Option("--captioner", metavar="NAME", help="A BLIP-2 that describes classified objects, or none."),
    ] = "none",
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="JSON from the folders or numbers of classes to their names.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float, typer.Option("--keep", min=0, max=1, help="Share of the candidates of each class that is kept.")
    ] = 0.5,
    min_score: Annotated[
        float, typer.Option("--min-score", min=0, max=1, help="Candidates with a lower cosine are dropped.")
    ] = 0.0,
    per_picture: Annotated[
        int, typer.Option("--per-picture", min=1, help="Candidates of a classified picture at most.")
    ] = 3,
    points_per_side: PointsPerSideOption = None,
    per_shard: Annotated[
        int, typer.Option("--per-shard", min=1, help="Pictures of a shard, where the source is no shard itself.")
    ] = 1000,
    folders: Annotated[bool, typer.Option("--folders", help="Write folders in place of tar files.")] = False,
    workers: WorkersOption = 1,
    share: ShardOption = "1/1",
    limit: LimitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Make pictures whose regions have masks and texts. A run that was stopped goes on where it was."""
    from fovea.datasets.classified import read_class_names
    from fovea.pipelines.classified import Ranking
    from fovea.pipelines.describer import Settings
    from fovea.pipelines.output import Output
    from fovea.pipelines.rgba import RgbaRun
    from fovea.pipelines.sources import make_plan

    mine, shares = share_of(share)
    names = {} if classes is None else read_class_names(classes)
    settings = Settings(models, captioner, points_per_side, per_picture, Ranking(keep, min_score), device, dtype)
    plan = make_plan(sources, per_shard, names, limit)
    run = RgbaRun(plan, Output(out, "folder" if folders else "tar"), settings, mine, shares)
    if dry_run:
        run.check()
        _tell_plan(run, as_json)
        return
    begun, before = time.monotonic(), run.count()
    waiting = run.run(workers, _progress)
    _tell_result(run, before["regions"], waiting, time.monotonic() - begun, as_json)
    if run.count()["failed"]:
        raise typer.Exit(PARTLY)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from fovea.cli.progress import progress

    with progress(what, total) as advance:

        def several(count: int) -> None:
            for _ in range(count):
                advance()

        yield several


def _tell_plan(run: RgbaRun, as_json: bool) -> None:
    left = [number for number in run.mine if not run.output.done(number)]
    pictures = run.pictures(run.mine)
    if as_json:
        document = {"units": len(run.mine), "done": len(run.mine) - len(left), "pictures": pictures}
        typer.echo(json.dumps(document | {"sources": list(run.plan.sources)}))
        return
    for source in run.plan.sources:
        typer.echo(source)
    held = "pictures that are counted when they are read" if pictures is None else f"{pictures} pictures"
    typer.echo(f"{len(run.mine)} shards of {held}, {len(left)} of them to be made in {run.output.directory}")


def _tell_result(run: RgbaRun, regions_before: int, waiting: int, seconds: float, as_json: bool) -> None:
    counts = run.count()
    done = sum(map(run.output.done, run.mine))
    pictures = {status: counts[status] for status in ("ok", "skipped", "failed")}
    rate = (counts["regions"] - regions_before) / seconds
    if as_json:
        document = {"pictures": pictures, "regions": counts["regions"], "shards": done, "waiting": waiting}
        typer.echo(json.dumps(document | {"seconds": round(seconds, 3), "regions_per_second": round(rate, 3)}))
    else:
        words = ", ".join(f"{count} {status}" for status, count in pictures.items())
        typer.echo(f"{done} shards in {run.output.directory}: pictures {words}; {counts['regions']} regions")
        typer.echo(f"this run took {seconds:.1f} s, {rate:.1f} regions per second")
    if waiting:
        typer.echo(
            f"{waiting} shards wait until all shares have scored their candidates: run this again then", err=True
        )
    if counts["failed"]:
        typer.echo(f"{counts['failed']} pictures failed: see {run.output.directory / 'status'}", err=True)

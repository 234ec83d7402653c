"""``fovea data tokens``: what RegionSpot's head is trained on, from pictures with named boxes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from fovea.cli.failures import PARTLY
from fovea.cli.options import (
    DeviceOption,
    DryRunOption,
    DtypeOption,
    JsonOption,
    LimitOption,
    ModelsOption,
    PicturesOption,
    ShardOption,
    WorkersOption,
    share_of,
)

NAME = "tokens"


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="An annotation file in COCO's form, or scenes:START+COUNT.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the shards go.", show_default=False)],
    pictures: PicturesOption = None,
    models: ModelsOption = "mini-vit",
    clip_size: Annotated[
        int, typer.Option("--clip-size", min=0, max=2048, help="Side of CLIP's input in pixels; 0: its own.")
    ] = 0,
    positions: Annotated[
        int,
        typer.Option("--positions", min=0, max=256, help="Channels that tell positions, for CLIPs that do not; by 4."),
    ] = 0,
    token_kind: Annotated[
        str,
        typer.Option(
            "--token-kind", help="Where SAM's tokens are taken: transformer, or for comparison prompt or mlp."
        ),
    ] = "transformer",
    per_shard: Annotated[int, typer.Option("--per-shard", min=1, help="Pictures of a shard.")] = 512,
    workers: WorkersOption = 1,
    share: ShardOption = "1/1",
    limit: LimitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Tokens of named boxes, by a SAM and a CLIP, for fovea train region-spot.

    A run that was stopped goes on where it stopped.
    """
    from fovea.backbones.sam_tokens import known_token_kind
    from fovea.cli.progress import progress
    from fovea.datasets.boxed_pictures import open_source
    from fovea.pipelines.tokens import TokenRun, TokenSettings

    if positions % 4:
        raise typer.BadParameter(f"{positions} is no multiple of 4", param_hint="--positions")
    boxed = open_source(source, pictures)
    boxed = boxed if limit is None else boxed.part(0, min(limit, len(boxed)))
    settings = TokenSettings(models, clip_size, positions, per_shard, device, dtype, known_token_kind(token_kind))
    work = TokenRun(boxed, settings, out, share_of(share))
    total = sum(len(work.pictures(number)) for number in work.units)
    left = sum(len(work.pictures(number)) for number in work.missing())
    if dry_run:
        work.check()
        units, names = len(work.units), len(boxed.vocabulary)
        if as_json:
            counts = {"units": units, "done": units - len(work.missing()), "pictures": total, "left": left}
            typer.echo(json.dumps({"directory": str(out), **counts, "names": names}))
        else:
            typer.echo(f"{left} of {total} pictures in {units} shards are to be done; {names} names")
        return
    begun = time.monotonic()
    with progress("pictures", total, total - left) as advance:
        counts = work.run(workers, advance)
    seconds = time.monotonic() - begun
    summary = {key: counts[key] for key in ("ok", "skipped", "failed", "regions")}
    if as_json:
        typer.echo(json.dumps({"directory": str(out), **summary, "done_now": left, "seconds": round(seconds, 2)}))
    else:
        said = ", ".join(f"{value} {key}" for key, value in summary.items())
        typer.echo(f"{said}; {left} pictures in {seconds:.0f} s; the tokens are in {out}")
    if counts["failed"]:
        raise typer.Exit(PARTLY)

"""``fovea data tokens``: what RegionSpot's head is trained on, from pictures with named boxes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from fovea.cli.options import DeviceOption, DtypeOption, JsonOption, ModelsOption

NAME = "tokens"

# Some inputs failed.
_PARTLY = 3


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="An annotation file in COCO's form, or scenes:START+COUNT.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the shards go.", show_default=False)],
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            metavar="DIR",
            help="Where the file's pictures are; beside it by default.",
            show_default=False,
        ),
    ] = None,
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
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that work side by side.")] = 1,
    share: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Do the I-th of N shares, for several machines: 1/4 to 4/4.")
    ] = "1/1",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Pictures at most.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to do and do nothing.")] = False,
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
    work = TokenRun(boxed, settings, out, _share(share))
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
        raise typer.Exit(_PARTLY)


def _share(text: str) -> tuple[int, int]:
    """``1/4`` as numbers."""
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise typer.BadParameter(f"{text!r} is no share, write I/N as in 1/4", param_hint="--shard")
    return int(first), int(second)

"""``fovea data cutouts``: things cut out of annotated pictures, to be pasted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from fovea.cli.failures import PARTLY
from fovea.cli.options import JsonOption, LimitOption, PicturesOption, WorkersOption

NAME = "cutouts"


def run(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="Annotations in COCO's form, with masks; or a folder of cut-outs for each category.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the cut-outs go.", show_default=False)],
    pictures: PicturesOption = None,
    least_share: Annotated[
        float, typer.Option("--least-share", min=0, max=1, help="Share of its box that a thing fills at least ...")
    ] = 0.05,
    most_share: Annotated[float, typer.Option("--most-share", min=0, max=1, help="... and at most.")] = 0.95,
    least_side: Annotated[int, typer.Option("--least-side", min=1, help="Pixels of its longer side at least ...")] = 32,
    longest: Annotated[int, typer.Option("--longest", min=1, help="... and at most: larger ones are shrunk.")] = 512,
    workers: WorkersOption = 1,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the annotated things out, each the largest piece of its mask: DIR/CATEGORY/NUMBER.png.

    Cut-outs from elsewhere are cropped and shrunk to the same limits, so that they are read more quickly.

    A run that was stopped goes on where it stopped.
    """
    from fovea.cli.progress import progress
    from fovea.pasting.cutting import CutLimits
    from fovea.pipelines.cutting import count_cut_outs, cut_run, shrink_run

    limits = CutLimits(least_share, most_share, least_side, longest)
    if source.is_dir():
        if pictures is not None:
            raise typer.BadParameter("cut-outs have no other pictures", param_hint="--pictures")
        work = shrink_run(source, out, limits, limit)
    else:
        work = cut_run(source, pictures, out, limits, limit)
    work.check()
    total, done, begun = sum(work.sizes), work.done(), time.monotonic()
    with progress("pictures", total, done) as advance:
        work.run(workers, advance)
    seconds = time.monotonic() - begun
    counts, reasons = count_cut_outs(work.rows())
    if as_json:
        pictures_done = {"ok": counts["ok"], "failed": counts["failed"], "done_now": total - done}
        document = {"directory": str(out), "pictures": pictures_done, "cut_outs": counts["regions"]}
        typer.echo(json.dumps({**document, "left_out": dict(reasons), "seconds": round(seconds, 2)}))
    else:
        gone = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items())) or "none"
        typer.echo(f"{counts['regions']} cut-outs from {counts['ok']} pictures in {out}; left out: {gone}")
    if counts["failed"]:
        typer.echo(f"{counts['failed']} pictures failed: see {out / 'status'}", err=True)
        raise typer.Exit(PARTLY)

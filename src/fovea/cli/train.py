"""``fovea train``: train one of the embedded models anew, give a CLIP an alpha plane, or teach a captioner places."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

NAME = "train"


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="mini-clip-resnet, mini-clip, mini-sam, mini-itm, mini-vlm, mini-alpha-clip, mini-region-spot, "
            "mini-pin; or alpha-clip, region-spot and pin for models and data of yours.",
            show_default=False,
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="JSON that overrides single settings.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Checkpoints, log and model; runs/NAME by default.", show_default=False
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR", help="Start a new run from this model; for pin the captioner.", show_default=False
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR[,DIR...]",
            help="Pictures with described regions, for mini-alpha-clip and alpha-clip; tokens of regions, for "
            "mini-region-spot and region-spot; cut-outs, for mini-pin and pin, which paste glyphs without.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the settings and the size of the data; train nothing.")
    ] = False,
) -> None:
    """Train an embedded model, an alpha plane for a CLIP, a head of RegionSpot, or what teaches a captioner places.

    A run that was stopped goes on where its last checkpoint stands.
    """
    from fovea.training.recipes import resolve_training

    training = resolve_training(name, config)
    directory = out or Path("runs") / name
    if dry_run:
        typer.echo(training.describe(directory, start, data))
        return
    # Every line of the log carries the time that is left.
    logging.getLogger("fovea").setLevel(logging.INFO)
    training.run(directory, start, data)
    typer.echo(f"the model is in {directory / 'model'}")

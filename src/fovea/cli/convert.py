"""``fovea convert``: released files become directories that fovea reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "convert"


def run(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A file of an Alpha-CLIP, an ALBEF, a RegionSpot, an OpenFlamingo or a PIN.",
            show_default=False,
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where it goes; must not be there yet.", show_default=False)
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="HUB_OR_DIR",
            help="The CLIP that an Alpha-CLIP was trained from, whose text tower and tokenizer join it (default: the "
            "released one of its sizes), or that a RegionSpot was trained with; for an OpenFlamingo its CLIP and its "
            "language model, with a comma between.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="PIXELS", help="Of that CLIP's input, for a RegionSpot.", show_default=False),
    ] = None,
    pickle: Annotated[
        bool, typer.Option("--pickle", help="Read pickles too (.pth, .pt, .bin): weights and plain data, no code.")
    ] = False,
) -> None:
    """Write a released checkpoint as safetensors with settings and tokenizer."""
    from fovea.backbones.converting import convert_checkpoint

    made = convert_checkpoint(checkpoint, directory, base, size=size, allow_pickle=pickle)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {directory}: {made.kind}; use it with {made.option} {','.join([str(directory), *made.beside])}")

"""``fovea scenes``: compose pictures with expressions, boxes and masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

NAME = "scenes"


def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where they go.", show_default=False)],
    count: Annotated[int, typer.Option("--count", min=1, help="How many.")] = 100,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Number of the first scene; from 1,000,000 on never trained on.")
    ] = 1_000_000,
    size: Annotated[int, typer.Option("--size", min=32, max=2048, help="Side of the pictures in pixels.")] = 256,
    names: Annotated[str, typer.Option("--names", help="train, unseen, or all.")] = "train",
    parts: Annotated[
        bool, typer.Option("--parts", help="Large things with small ones on them, and paco_scenes.json as well.")
    ] = False,
    lvis: Annotated[
        bool, typer.Option("--lvis", help="Also lvis_scenes.json, which leaves things out as LVIS's annotations do.")
    ] = False,
) -> None:
    """Compose scenes: images/, refs.jsonl (ReCLIP's format) and instances.json (LVIS's format)."""
    if parts and lvis:
        raise typer.BadParameter("--parts and --lvis do not go together")
    from fovea.cli.progress import progress
    from fovea.scenes.export import glyphs_named, write_scenes
    from fovea.scenes.paco import write_part_scenes

    write = write_part_scenes if parts else partial(write_scenes, lvis=lvis)
    with progress("scenes", count) as advance:
        write(directory, count, seed, size=size, glyphs=glyphs_named(names), advance=advance)
    typer.echo(f"wrote {count} scenes to {directory}")

"""``fovea data paste``: pictures of pasted things, whose places are known."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.options import JsonOption, WorkersOption

if TYPE_CHECKING:
    from fovea.pasting.pictures import Pasting

NAME = "paste"

# Pictures of a sheet.
_SHOWN = 16


def run(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the pictures go.", show_default=False)
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview",
            metavar="FILE",
            help="Write one sheet of the first 16 pictures, with their boxes.",
            show_default=False,
        ),
    ] = None,
    cut_outs: Annotated[
        Path | None,
        typer.Option(
            "--cutouts",
            metavar="DIR",
            help="What is pasted: a folder of .png files for each category. Without, the glyphs of scenes.",
            show_default=False,
        ),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            "--backgrounds",
            metavar="DIR",
            help="Photographs to paste on. Without, the backgrounds of scenes.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many pictures.")] = 1000,
    things: Annotated[str, typer.Option("--things", metavar="N-M", help="How many things each shows.")] = "1-3",
    size: Annotated[int, typer.Option("--size", min=16, max=2048, help="Side of the pictures in pixels.")] = 224,
    cells: Annotated[int, typer.Option("--cells", min=2, max=128, help="Cells per side of the grid.")] = 16,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one makes other pictures.")] = 0,
    exclude: Annotated[
        str, typer.Option("--exclude", metavar="NAMES", help="Benchmarks whose categories are left out: coco,voc.")
    ] = "",
    categories: Annotated[
        Path | None,
        typer.Option(
            "--categories",
            metavar="FILE",
            help="LVIS's categories, which say in what sense the folders' names are meant.",
            show_default=False,
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Paste what is left out otherwise, to measure by.")
    ] = False,
    referral: Annotated[
        bool, typer.Option("--referral", help="Paste things of one name, told apart by where they are.")
    ] = False,
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Paste cut-outs on backgrounds: images/ and instances.json, whose annotations have a "phrase".

    A run that was stopped goes on where it stopped.
    """
    if (out is None) == (preview is None):
        raise typer.BadParameter("give either --out or --preview")
    if cut_outs is None and (exclude or categories is not None):
        raise typer.BadParameter("--exclude and --categories choose among the folders of --cutouts")
    if held_out and cut_outs is not None and not exclude:
        raise typer.BadParameter("--held-out pastes what --exclude names")
    counts = _counts(things)
    chosen = [name.strip() for name in exclude.split(",") if name.strip()]
    pasting = _pasting(cut_outs, size, cells, seed, backgrounds, chosen, categories, held_out, referral)
    if preview is not None:
        from fovea.exports.overlay import to_bytes
        from fovea.exports.pasted import sheet
        from fovea.files import write_atomically

        write_atomically(preview, to_bytes(sheet(pasting, range(min(count, _SHOWN)), counts), preview.suffix))
        made = {"preview": str(preview), "categories": len(pasting.cut_outs.names)}
        typer.echo(json.dumps(made) if as_json else f"wrote {preview}; {made['categories']} categories")
    elif out is not None:
        _write(pasting, counts, count, out, workers, as_json)


def _write(pasting: Pasting, counts: tuple[int, int], count: int, out: Path, workers: int, as_json: bool) -> None:
    from fovea.cli.progress import progress
    from fovea.pipelines.pasting import paste_run, write_instances

    work = paste_run(pasting, counts, range(count), out)
    work.check()
    done, begun = work.done(), time.monotonic()
    with progress("pictures", count, done) as advance:
        work.run(workers, advance)
    seconds = time.monotonic() - begun
    said = {"pictures": count, "things": write_instances(pasting, work), "categories": len(pasting.cut_outs.names)}
    if as_json:
        document = {"directory": str(out), **said, "done_now": count - done, "seconds": round(seconds, 2)}
        typer.echo(json.dumps(document))
    else:
        words = ", ".join(f"{value} {name}" for name, value in said.items())
        typer.echo(f"{words} in {out}; {count - done} pictures in {seconds:.0f} s")


def _counts(text: str) -> tuple[int, int]:
    """``3`` or ``1-3`` as numbers."""
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last:
        raise typer.BadParameter(f"{text!r} is no number of things, write 3 or 1-3", param_hint="--things")
    return first, last


def _pasting(
    cut_outs: Path | None,
    size: int,
    cells: int,
    seed: int,
    backgrounds: Path | None,
    exclude: Sequence[str],
    categories: Path | None,
    held_out: bool,
    referral: bool,
) -> Pasting:
    from fovea.pasting.folders import folder_pasting
    from fovea.pasting.glyphs import glyph_pasting
    from fovea.pasting.grid import PasteSettings
    from fovea.pasting.referral import Referral

    settings, said = PasteSettings(cells), Referral() if referral else None
    if cut_outs is None:
        return glyph_pasting(size, settings, seed, held_out, referral=said, backgrounds=backgrounds)
    return folder_pasting(
        cut_outs,
        size,
        settings,
        seed,
        backgrounds=backgrounds,
        exclude=exclude,
        categories=categories,
        held_out=held_out,
        referral=said,
    )

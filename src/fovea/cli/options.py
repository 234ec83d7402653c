"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

PictureArgument = Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture.", show_default=False)]
RecipeOption = Annotated[
    str, typer.Option("--recipe", help="A recipe, or visual prompts joined by +, such as crop+D4.", metavar="NAME")
]
ModelsOption = Annotated[
    str,
    typer.Option(
        "--models",
        help="mini, mini-vit, mini-ensemble, photo, photo-small; or, with commas, directories and hub names of a CLIP, "
        "a SAM, or whatever else the recipe asks, such as a captioner and its insert.",
    ),
]
RelationsOption = Annotated[
    str,
    typer.Option(
        "--relations", metavar="NAME", help="How recipes with R read places: extended, reclip, reclip-sigmoid or head."
    ),
]
ParserOption = Annotated[
    str,
    typer.Option(
        "--parser", metavar="NAME|FILE", help="What parses expressions: built-in, spacy, spacy:MODEL, or JSON records."
    ),
]
RenderingOption = Annotated[
    str,
    typer.Option("--rendering", metavar="NAME", help="direct, or parity: marks as the released programs draw them."),
]
BankOption = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE",
        help="Expressions that recipes with S subtract, one per line.",
        show_default=False,
    ),
]
AggregateOption = Annotated[
    str, typer.Option("--aggregate", help="How the scores of several visual prompts become one: sum or max.")
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help="Sentence around expressions, with {} in their place; {} alone adds nothing. Default: the recipe's.",
        show_default=False,
    ),
]
PointsPerSideOption = Annotated[
    int | None,
    typer.Option(
        "--points-per-side",
        min=1,
        max=256,
        help="Of SAM's square grid. Default: 14 with the embedded models, 32 with others.",
        show_default=False,
    ),
]
MaxOverlapOption = Annotated[
    float | None,
    typer.Option(
        "--max-overlap",
        min=0,
        max=1,
        help="Of two masks of the grid whose boxes have a greater IoU one is dropped; more keeps parts. Default: 0.7.",
        show_default=False,
    ),
]
CropLayersOption = Annotated[
    int | None,
    typer.Option(
        "--crop-layers",
        min=0,
        max=3,
        help="Search finer and finer crops as well, for small things: 1 adds four crops, 2 sixteen more. Default: 0.",
        show_default=False,
    ),
]
FillHolesOption = Annotated[
    int,
    typer.Option("--fill-holes-below", min=0, help="Holes in SAM's masks of fewer pixels are filled."),
]
DropIslandsOption = Annotated[
    int,
    typer.Option("--drop-islands-below", min=0, help="Islands of SAM's masks of fewer pixels are dropped."),
]
MinMaskOption = Annotated[int, typer.Option("--min-mask-area", min=0, help="The grid offers no mask of fewer pixels.")]
MaxMaskOption = Annotated[
    int | None,
    typer.Option("--max-mask-area", min=1, help="The grid offers no mask of more pixels.", show_default=False),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps ...")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
BoxesOption = Annotated[
    Path | None,
    typer.Option(
        "--boxes",
        metavar="FILE",
        help="JSON with boxes: rows of x1,y1,x2,y2, detections or COCO (docs/regions.md).",
        show_default=False,
    ),
]
MaskOption = Annotated[
    Path | None, typer.Option("--mask", metavar="FILE", help="Picture of the mask, white on black.", show_default=False)
]
PointOption = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="X,Y", help="A point in pixels; may be given several times.", show_default=False),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the picture with what was found drawn on it.", show_default=False
    ),
]

# --- of runs over many pictures ---------------------------------------------------------------------------------------

PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        metavar="DIR",
        help="Where the file's pictures are; beside it by default.",
        show_default=False,
    ),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes that work side by side.")]
ShardOption = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Do the I-th of N shares, for several machines: 1/4 to 4/4.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Pictures at most.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what there is to do and do nothing.")]


def share_of(shard: str) -> tuple[int, int]:
    """``1/4``, as ``--shard`` has it, as numbers."""
    first, _, second = shard.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise typer.BadParameter(f"{shard!r} is no share: write 1/4, 2/4, 3/4 or 4/4", param_hint="--shard")
    return int(first), int(second)


def allow_only(context: typer.Context | None, names: Collection[str], what: str) -> None:
    """Refuse what was given on the command line and means nothing there, rather than leave it out in silence.

    Args:
        context: of the running command; None where it was called as a function.
        names: of its parameters that do mean something.
        what: is run, for the message.

    Raises:
        typer.BadParameter: some other option was given.
    """
    if context is None:
        return
    sources = ((each, context.get_parameter_source(str(each.name))) for each in context.command.params)
    given = [each for each, source in sources if source is not None and source.name == "COMMANDLINE"]
    needless = [each.opts[0] for each in given if each.name not in names]
    if needless:
        raise typer.BadParameter(f"{what} has no use for {', '.join(needless)}: leave out what does not apply")

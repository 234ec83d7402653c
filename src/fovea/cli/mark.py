"""``fovea mark``: draw a visual prompt, to see what a model would see or to feed another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fovea.cli.options import BoxesOption, DeviceOption, MaskOption, ModelsOption, PictureArgument, PointOption

NAME = "mark"


def run(
    picture: PictureArgument,
    style: Annotated[
        str, typer.Option("--style", help="A visual prompt, such as blur-outside-mask or D4.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the marked picture goes.", show_default=False)
    ],
    boxes: BoxesOption = None,
    mask: MaskOption = None,
    point: PointOption = None,
    blur: Annotated[
        float, typer.Option("--blur", min=0, help="Spread of the blur, in pixels where the shorter side is 384.")
    ] = 100,
    models: ModelsOption = "mini",
    device: DeviceOption = "auto",
) -> None:
    """Draw a visual prompt on a picture; several regions give several files, numbered."""
    from PIL import Image

    from fovea.cli.regions_input import named_regions
    from fovea.exports.overlay import to_bytes
    from fovea.files import write_atomically
    from fovea.marks import MarkOptions, parse_style, render
    from fovea.pictures import open_picture
    from fovea.recipes import load_proposer

    chosen = parse_style(style)
    opened = open_picture(picture)
    grounder = load_proposer(chosen.needs_masks, models, device=device)
    regions = named_regions(opened, grounder, boxes, mask, point, False)
    options = MarkOptions(blur_sigma=blur)
    for index in range(len(regions)):
        one = regions.select([index])
        x1, y1, x2, y2 = one.boxes[0]
        size = (max(1, round(x2 - x1)), max(1, round(y2 - y1))) if chosen.cropped else opened.size
        marked = render(opened, one, chosen, size, options)[0]
        path = out if len(regions) == 1 else out.with_stem(f"{out.stem}-{index}")
        write_atomically(path, to_bytes(Image.fromarray(marked), path.suffix))
        typer.echo(f"wrote {path}")

"""``fovea mark``: draw a visual prompt, to see what a model would see or to feed another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.options import BoxesOption, DeviceOption, MaskOption, ModelsOption, PictureArgument, PointOption

if TYPE_CHECKING:
    import numpy as np

    from fovea.marks import MarkOptions
    from fovea.marks.styles import MarkStyle
    from fovea.pictures import Picture
    from fovea.regions import Regions

NAME = "mark"

# Most pixels that are drawn at once: marking works on several bytes for each.
_PIXELS = 2**24


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
    from fovea.backbones.models import Models
    from fovea.cache import FeatureCache
    from fovea.cli.regions_input import named_regions
    from fovea.errors import RegionError
    from fovea.marks import MarkOptions, parse_style
    from fovea.pictures import open_picture
    from fovea.proposers.finder import RegionFinder

    chosen = parse_style(style)
    opened, loaded = open_picture(picture), Models(models, device=device)
    finder = RegionFinder(lambda: loaded.segmenter)
    regions = named_regions(opened, finder, chosen.needs_masks, FeatureCache(), boxes=boxes, mask=mask, points=point)
    if not len(regions):
        raise RegionError("there is no region to mark", "name one with --boxes, --mask or --point")
    for index, marked in enumerate(_marked(opened, regions, chosen, MarkOptions(blur_sigma=blur))):
        path = out if len(regions) == 1 else out.with_stem(f"{out.stem}-{index}")
        _write(marked, path)
        typer.echo(f"wrote {path}")


def _marked(picture: Picture, regions: Regions, style: MarkStyle, options: MarkOptions) -> Iterator[np.ndarray]:
    """One picture per region, as large as the picture, or for crops as the region."""
    from fovea.marks.direct import Canvas, render

    if style.cropped:
        for index, (x1, y1, x2, y2) in enumerate(regions.boxes.tolist()):
            size = (max(1, round(x2 - x1)), max(1, round(y2 - y1)))
            yield from render(picture, regions.select([index]), style, size, options)
        return
    canvas, indices = Canvas(picture, picture.size, options), range(len(regions))
    together = max(1, _PIXELS // (picture.width * picture.height))
    for start in indices[::together]:
        yield from canvas.draw(regions.select(indices[start : start + together]), style)


def _write(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    from fovea.exports.overlay import to_bytes
    from fovea.files import write_atomically

    write_atomically(path, to_bytes(Image.fromarray(pixels), path.suffix))

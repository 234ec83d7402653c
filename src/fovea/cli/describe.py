"""``fovea describe``: what does this region show, in words?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fovea.cli.options import (
    BoxesOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaskOption,
    PictureArgument,
    PointOption,
)

NAME = "describe"


def run(
    picture: PictureArgument,
    boxes: BoxesOption = None,
    mask: MaskOption = None,
    point: PointOption = None,
    grid: Annotated[bool, typer.Option("--grid", help="Describe everything that SAM's grid finds.")] = False,
    models: Annotated[
        str,
        typer.Option("--models", help="Directories and hub names of a BLIP-2 or a LLaVA, and of a SAM for --point."),
    ] = "photo-small",
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Describe regions of a picture, one text for each."""
    from fovea.backbones.models import Models
    from fovea.cache import FeatureCache
    from fovea.cli.regions_input import named_regions
    from fovea.describer import describe_regions, view_of
    from fovea.pictures import open_picture
    from fovea.proposers.finder import RegionFinder
    from fovea.recipes import resolve_grid

    opened, used = open_picture(picture), Models(models, device=device, dtype=dtype)
    finder = RegionFinder(lambda: used.segmenter, resolve_grid(used.sources))
    # Boxes stay boxes: what is described is what the user points at.
    regions = named_regions(opened, finder, False, FeatureCache(), boxes=boxes, mask=mask, points=point, grid=grid)
    captioner = used.region_captioner
    texts, view = describe_regions(captioner, opened, regions), view_of(captioner)
    if as_json:
        from fovea.exports.documents import descriptions_document

        typer.echo(json.dumps(descriptions_document(opened, regions, texts, used.sources.captioner, view)))
        return
    for box, text in zip(regions.boxes, texts, strict=True):
        typer.echo(f"[{', '.join(f'{value:.0f}' for value in box)}]  {text}")
    typer.echo(f"{len(regions)} regions from {regions.source}, shown by {view}; captioner {used.sources.captioner}")

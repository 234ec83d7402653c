"""``fovea label``: what is this region called?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fovea.cli.grid_options import grid_changes
from fovea.cli.options import (
    BoxesOption,
    CropLayersOption,
    DeviceOption,
    DropIslandsOption,
    DtypeOption,
    FillHolesOption,
    JsonOption,
    MaskOption,
    MaxMaskOption,
    MaxOverlapOption,
    MinMaskOption,
    ModelsOption,
    OutOption,
    PictureArgument,
    PointOption,
    PointsPerSideOption,
    RecipeOption,
)

NAME = "label"


def run(
    picture: PictureArgument,
    labels: Annotated[str, typer.Option("--labels", metavar="A,B,...", help="Candidate names.", show_default=False)],
    boxes: BoxesOption = None,
    mask: MaskOption = None,
    point: PointOption = None,
    grid: Annotated[bool, typer.Option("--grid", help="Name everything that SAM's grid finds.")] = False,
    recipe: RecipeOption = "fgvp",
    models: ModelsOption = "mini",
    top: Annotated[int, typer.Option("--top", min=1, help="Names to show per region.")] = 3,
    out: OutOption = None,
    as_json: JsonOption = False,
    points_per_side: PointsPerSideOption = None,
    max_overlap: MaxOverlapOption = None,
    crop_layers: CropLayersOption = None,
    fill_holes_below: FillHolesOption = 0,
    drop_islands_below: DropIslandsOption = 0,
    min_mask_area: MinMaskOption = 0,
    max_mask_area: MaxMaskOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Name regions of a picture."""
    from fovea.backbones.models import Models
    from fovea.cli.regions_input import named_regions
    from fovea.language.templates import with_article
    from fovea.pictures import open_picture
    from fovea.recipes import load, resolve_grid

    opened = open_picture(picture)
    searching = grid_changes(
        points_per_side, max_overlap, crop_layers, fill_holes_below, drop_islands_below, min_mask_area, max_mask_area
    )
    opened_models = Models(models, device=device, dtype=dtype)
    grounder = load(
        recipe, opened_models,
        grid=resolve_grid(opened_models.sources, **searching),
    )  # fmt: skip
    regions = named_regions(
        opened, grounder.finder, grounder.names_masks, grounder.cache,
        boxes=boxes, mask=mask, points=point, grid=grid,
    )  # fmt: skip
    names = [name.strip() for name in labels.split(",") if name.strip()]
    results = grounder.label(opened, names, regions=regions, top=top)
    for note in dict.fromkeys(note for name in names for note in grounder.scorer.notes(with_article(name))):
        typer.echo(f"note: {note}", err=True)
    if out is not None:
        from fovea.exports.overlay import Outline, draw_overlay, to_bytes
        from fovea.files import write_atomically

        outlines = [Outline(r.box, r.mask, f"{r.labels[0][0]} {r.labels[0][1]:.2f}") for r in results]
        write_atomically(out, to_bytes(draw_overlay(opened, outlines), out.suffix))
    if as_json:
        from fovea.exports.documents import labels_document

        typer.echo(json.dumps(labels_document(opened, results, grounder.provenance(regions))))
        return
    for result in results:
        box = ", ".join(f"{value:.0f}" for value in result.box)
        typer.echo(f"[{box}]  " + "  ".join(f"{name} {score:.2f}" for name, score in result.labels))
    typer.echo(f"{len(results)} regions from {regions.source}; recipe {grounder.recipe}, models {grounder.models}")
    if out is not None:
        typer.echo(f"wrote {out}")

"""``fovea find``: which region does an expression mean?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.grid_options import grid_changes
from fovea.cli.options import (
    AggregateOption,
    BankOption,
    CropLayersOption,
    DeviceOption,
    DropIslandsOption,
    DtypeOption,
    FillHolesOption,
    JsonOption,
    MaxMaskOption,
    MaxOverlapOption,
    MinMaskOption,
    ModelsOption,
    OutOption,
    ParserOption,
    PictureArgument,
    PointsPerSideOption,
    RecipeOption,
    RelationsOption,
    RenderingOption,
    TemplateOption,
)

if TYPE_CHECKING:
    from fovea.grounder import Grounding

NAME = "find"


def run(
    picture: PictureArgument,
    expressions: Annotated[list[str], typer.Argument(metavar="EXPRESSION", help="What to find.", show_default=False)],
    recipe: RecipeOption = "fgvp",
    proposals: Annotated[
        str | None,
        typer.Option(
            "--proposals",
            metavar="grid|mask2former|told|FILE",
            help="Where it could be: SAM's grid, all masks of a Mask2Former, what a captioner says, or a file with "
            "boxes. Default: grid; of pin: told.",
            show_default=False,
        ),
    ] = None,
    snap: Annotated[
        bool, typer.Option("--snap", help="What a captioner says becomes the mask that SAM sees there, and its bounds.")
    ] = False,
    models: ModelsOption = "mini",
    out: OutOption = None,
    as_json: JsonOption = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain", metavar="FILE", help="Write a page that shows how the answer came about.", show_default=False
        ),
    ] = None,
    min_score: Annotated[
        float, typer.Option("--min-score", min=0, max=1, help="Below this share the answer is: absent.")
    ] = 0.0,
    relations: RelationsOption = "extended",
    parser: ParserOption = "built-in",
    rendering: RenderingOption = "direct",
    bank: BankOption = None,
    aggregate: AggregateOption = "sum",
    template: TemplateOption = None,
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
    """Find what expressions mean in a picture."""
    from fovea.backbones.models import Models
    from fovea.files import write_atomically
    from fovea.pictures import open_picture
    from fovea.proposers import SEARCHES
    from fovea.proposers.given import regions_from_file
    from fovea.recipes import load, resolve_grid
    from fovea.rules.subtraction import read_bank

    opened = open_picture(picture)
    searched = proposals is None or proposals in SEARCHES
    regions = None if searched else regions_from_file(Path(str(proposals)), opened)
    searching = grid_changes(
        points_per_side, max_overlap, crop_layers, fill_holes_below, drop_islands_below, min_mask_area, max_mask_area
    )
    opened_models = Models(models, device=device, dtype=dtype)
    grounder = load(
        recipe, opened_models, search=proposals if searched else None, snap=snap,
        relations=relations, parser=parser, rendering=rendering,
        bank=None if bank is None else read_bank(bank), aggregate=aggregate, template=template,
        grid=resolve_grid(opened_models.sources, **searching),
    )  # fmt: skip
    grounding = grounder.ground(opened, expressions, regions=regions, min_score=min_score, explain=explain is not None)
    if out is not None:
        _write_overlay(grounding, out)
    if explain is not None:
        from fovea.exports.explain import explanation

        write_atomically(explain, explanation(grounding))
    for note in dict.fromkeys(note for answer in grounding.answers for note in answer.notes):
        typer.echo(f"note: {note}", err=True)
    if as_json:
        from fovea.exports.documents import answers_document

        typer.echo(json.dumps(answers_document(grounding)))
        return
    _print(grounding)
    for path in filter(None, (out, explain)):
        typer.echo(f"wrote {path}")


def _write_overlay(grounding: Grounding, out: Path) -> None:
    from fovea.exports.overlay import Outline, draw_overlay, to_bytes
    from fovea.files import write_atomically

    outlines = [Outline(a.box, a.mask, a.expression) for a in grounding.answers if a.box is not None]
    write_atomically(out, to_bytes(draw_overlay(grounding.picture, outlines), out.suffix))


def _print(grounding: Grounding) -> None:
    provenance = grounding.answers[0].provenance
    for answer in grounding.answers:
        if answer.box is None:
            typer.echo(f"{answer.expression}: absent")
        else:
            box = ", ".join(f"{value:.0f}" for value in answer.box)
            typer.echo(f"{answer.expression}: [{box}]  score {answer.score:.2f}")
    searched = f" ({provenance.grid})" if provenance.grid else ""
    typer.echo(
        f"{provenance.count} proposals from {provenance.proposals}{searched}; "
        f"recipe {provenance.recipe}, models {provenance.models}, relations {provenance.relations}; "
        f"{sum(grounding.seconds.values()):.2f} s"
    )

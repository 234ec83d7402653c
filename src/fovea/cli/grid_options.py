"""What the options of SAM's grid and masks say together."""

from __future__ import annotations

from typing import Any


def grid_changes(
    points_per_side: int | None,
    max_overlap: float | None,
    crop_layers: int | None,
    fill_holes_below: int,
    drop_islands_below: int,
    min_mask_area: int,
    max_mask_area: int | None,
) -> dict[str, Any]:
    """Fields of ``GridSettings`` to set, for :func:`fovea.recipes.resolve_grid`; those that are None stay."""
    from fovea.proposers.mask_filter import MaskFilter

    return {
        "points_per_side": points_per_side,
        "max_overlap": max_overlap,
        "crop_layers": crop_layers,
        "mask_filter": MaskFilter(fill_holes_below, drop_islands_below, min_mask_area, max_mask_area),
    }

"""RegionSpot, with and without a look of regions at each other.

Its paper reports average precision on LVIS, which is no accuracy: those numbers stand with that evaluation.
"""

from __future__ import annotations

from dataclasses import replace

from fovea.recipes.recipe import Recipe

_SET = Recipe(
    "region-spot",
    "tokens of SAM look at those of CLIP and at each other: all regions in one pass",
    (),
    "Yang et al. 2024 (RegionSpot)",
    template="{}",
    scorer="region-spot",
)

#: A region's name may depend on its neighbours, or not.
REGION_SPOT_RECIPES: tuple[Recipe, ...] = (
    _SET,
    replace(
        _SET,
        name="region-spot-single",
        summary="the same, every region for itself",
        settings={"context": "single"},
    ),
)

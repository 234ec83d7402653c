"""PIN: a captioner says the box itself, with a positional insert joined to it.

Its paper reports overlaps of boxes, which are no accuracy: those numbers stand with that evaluation
(:mod:`fovea.recipes.reported_telling`).
"""

from __future__ import annotations

from fovea.recipes.recipe import Recipe

PIN_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "pin",
        "a captioner with what was trained beside it says where a thing is; other proposals count by their overlap",
        (),
        "Dorkenwald et al. 2024 (PIN)",
        template="{}",
        scorer="told",
        search="told",
    ),
)

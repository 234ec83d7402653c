"""Alpha-CLIP on referring expressions, with what its paper reports (specs/alphaclip.md, 9)."""

from __future__ import annotations

from fovea.recipes.recipe import Recipe

_SPLITS = tuple(f"{data}-{part}" for data in ("refcoco", "refcoco+") for part in ("val", "testA", "testB"))
_SPLITS += ("refcocog-val", "refcocog-test")
_NUMBERS = "55.7 61.1 50.3 55.6 62.7 46.4 61.2 62.0"

#: With both views, as in the paper's table, and with the picture alone, which needs half the time.
ALPHA_CLIP_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "alpha-clip",
        "an alpha map of each mask, beside the picture and beside the picture blurred outside of it",
        (),
        "Sun et al. 2024 (Alpha-CLIP, ViT-B/16, ViT-L/14)",
        relations=True,
        scorer="alpha-clip",
        settings={"views": ("whole", "blurred")},
        reported={
            (split, "detections"): float(number) for split, number in zip(_SPLITS, _NUMBERS.split(), strict=True)
        },
    ),
    Recipe(
        "alpha-clip-whole",
        "an alpha map of each mask beside the picture; no relations",
        (),
        "Sun et al. 2024 (Alpha-CLIP)",
        scorer="alpha-clip",
        settings={"views": ("whole",)},
    ),
)

"""What Alpha-CLIP's tables report for naming regions, in percent, as the mean over classes (specs/alphaclip.md, 9).

All are of ViT-L/14. ``alpha-clip`` is the paper's GRIT-20M on ImageNet-S, and its GRIT-1M with MaskImageNet on COCO.
"""

from __future__ import annotations

from collections.abc import Mapping

from fovea.recipes.reported import Setting

#: Whose numbers they are.
REPORTED_MODEL = "ViT-L/14"

#: By recipe; a setting is a split with its measure, and how regions are given.
NAMING: Mapping[str, Mapping[Setting, float]] = {
    "crop": {
        ("imagenet-s top-1", "whole"): 73.48,
        ("imagenet-s top-5", "whole"): 91.60,
        ("coco-names kept top-1", "whole"): 67.65,
        ("coco-names white top-1", "whole"): 54.43,
    },
    "C1": {("imagenet-s top-1", "mask"): 73.37, ("imagenet-s top-5", "mask"): 92.09},
    "alpha-clip": {
        ("imagenet-s top-1", "whole"): 73.37,
        ("imagenet-s top-5", "whole"): 91.75,
        ("imagenet-s top-1", "box"): 75.62,
        ("imagenet-s top-5", "box"): 93.34,
        ("imagenet-s top-1", "mask"): 77.41,
        ("imagenet-s top-5", "mask"): 94.45,
        ("coco-names kept top-1", "mask"): 77.56,
        ("coco-names white top-1", "mask"): 58.84,
    },
}


def reported_naming(recipe: str, split: str, region: str) -> dict[str, float]:
    """The paper's ``top-1`` and ``top-5`` in percent, as far as its tables have them.

    Args:
        recipe: its name.
        split: such as ``imagenet-s``.
        region: how regions are given.
    """
    known = NAMING.get(recipe, {})
    found = {measure: known.get((f"{split} {measure}", region)) for measure in ("top-1", "top-5")}
    return {measure: value for measure, value in found.items() if value is not None}

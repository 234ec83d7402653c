"""The rows of FGVP's tables, with what the paper reports (papers/fgvp.txt)."""

from __future__ import annotations

from dataclasses import replace

from fovea.marks.styles import COLOURS, MarkOptions, parse_style
from fovea.recipes.recipe import Recipe, combine

_SPLITS = tuple(f"{data}-{part}" for data in ("refcoco", "refcoco+") for part in ("val", "testA", "testB"))
_SPLITS += ("refcocog-val", "refcocog-test")
_SMALL = "ViT-B/32, RN50x16"
_LARGE = "ViT-L/14@336px, RN50x16"
_CROP = parse_style("P")


def _row(name: str, parts: str, summary: str, paper: str, numbers: str) -> Recipe:
    settings = ((split, "detections") for split in _SPLITS)
    reported = dict(zip(settings, map(float, numbers.split()), strict=True))
    return replace(combine(parts, name, summary), paper=paper, reported=reported)


_CPT = replace(
    _row(
        "cpt", "P+B2+R", "a crop, and the box tinted red", f"CPT as adapted by ReCLIP ({_SMALL})",
        "41.3 40.6 44.0 41.3 41.8 41.1 51.3 51.2",
    ),
    template="{} is in red color.",
    options=MarkOptions(fill_colour=COLOURS["cpt_red"]),
    native=(_CROP, parse_style("B2")),
)  # fmt: skip
_RECLIP = replace(
    _row(
        "reclip", "P+B4+R", "a crop, and everything outside of the box blurred",
        f"Subramanian et al. 2022 (ReCLIP, {_SMALL})", "45.8 46.1 47.1 47.9 50.1 45.1 59.3 59.0",
    ),
    native=(_CROP, parse_style("B4")),
)  # fmt: skip

#: Every row, in the order of the paper's table. Without a suffix: with relations.
FGVP_RECIPES: tuple[Recipe, ...] = (
    replace(combine("P", "crop", "cut each region out and let CLIP choose"), paper="baseline of ReCLIP and FGVP"),
    _CPT,
    _RECLIP,
    _row(
        "redcircle", "P+C1+R", "a crop, and a red ellipse around each region",
        f"Shtedritski et al. 2023, as in FGVP ({_SMALL})", "43.9 46.2 44.1 45.3 47.9 43.1 57.3 56.3",
    ),
    _row(
        "fgvp", "P+D4+R", "a crop, and everything outside of the mask blurred", f"Yang et al. 2023 (FGVP, {_SMALL})",
        "52.0 55.9 48.8 53.3 60.4 46.7 62.1 61.9",
    ),
    _row(
        "redcircle-s", "C1+C3+C4+S", "three ellipses, less the average expression", f"RedCircle as in FGVP ({_LARGE})",
        "51.4 58.3 40.9 56.3 63.6 45.8 58.3 58.0",
    ),
    _row(
        "fgvp-s", "D1+D3+D4+S", "three masks, less the average expression", f"FGVP ({_LARGE})",
        "52.9 59.6 43.9 57.4 64.8 46.3 58.1 58.3",
    ),
    _row(
        "redcircle-ps", "P+C1+C3+C4+S", "redcircle-s and a crop", f"RedCircle as in FGVP ({_LARGE})",
        "51.6 58.0 42.0 58.1 64.5 47.5 60.0 59.3",
    ),
    _row(
        "fgvp-ps", "P+D1+D3+D4+S", "fgvp-s and a crop", f"FGVP ({_LARGE})",
        "53.9 60.2 44.3 59.3 66.6 48.8 61.0 61.3",
    ),
    _row(
        "redcircle-rs", "P+C1+C3+C4+R+S", "redcircle-ps with relations", f"RedCircle as in FGVP ({_LARGE})",
        "56.8 62.4 49.1 58.6 64.7 48.3 62.2 61.0",
    ),
    _row(
        "fgvp-rs", "P+D1+D3+D4+R+S", "fgvp-ps with relations", f"FGVP ({_LARGE})",
        "59.6 65.0 52.0 60.0 66.8 49.7 63.3 63.4",
    ),
)  # fmt: skip

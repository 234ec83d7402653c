"""IteRPrimE, its ablations and the zero-shot baselines of its tables, with what its paper reports.

Source: papers/iterprime.txt. The numbers are mIoU of masks, not accuracies of boxes, and are keyed so that the two are
never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fovea.language.pieces import PREFIX
from fovea.marks.styles import COLOURS, MarkOptions
from fovea.recipes.recipe import Recipe, combine
from fovea.recipes.reported import Setting

_SPLITS = tuple(f"{data}-{part} mIoU" for data in ("refcoco", "refcoco+") for part in ("val", "testA", "testB"))
_SPLITS += ("refcocog-val mIoU", "refcocog-test mIoU")


def _reported(numbers: str) -> dict[Setting, float]:
    return {(split, "masks"): float(number) for split, number in zip(_SPLITS, numbers.split(), strict=True)}


def _phrasecut(number: float) -> dict[Setting, float]:
    return {("phrasecut-test oIoU", "masks"): number}


def _heat(name: str, summary: str, numbers: Mapping[str, float], **settings: Any) -> Recipe:
    """A row of tables 3 and 5: heat of a matching model, merged and refined in some way."""
    reported = {(f"{split} mIoU", "masks"): number for split, number in numbers.items()}
    paper = "Wang et al. 2025 (IteRPrimE, ALBEF)"
    return Recipe(name, summary, (), paper, template=PREFIX, scorer="heat", settings=settings, reported=reported)


def _ablation(test_a: float, g_test: float) -> dict[str, float]:
    return {"refcoco-testA": test_a, "refcocog-test": g_test}


_HEAT_RECIPES: tuple[Recipe, ...] = (
    replace(
        _heat("iterprime", "the refined Grad-CAM of a matching model, its primary word emphasised", {}),
        reported=_reported("40.2 46.5 33.9 44.2 51.6 35.3 46.0 45.8") | _phrasecut(38.1),
    ),
    _heat("iterprime-paper", "the same, refined as printed and not as released", {}, variant="paper"),
    _heat("pwem", "one Grad-CAM, its primary word emphasised", _ablation(46.1, 45.1), rounds=1),
    _heat("pwem-global", "the primary word repeated, refined", _ablation(46.5, 45.7), mode="global"),
    _heat("pwem-local", "the primary word against its context, refined", _ablation(45.3, 42.3), mode="local"),
    _heat(
        "gvlp", "one Grad-CAM of the words that carry meaning (GroundVLP)", _ablation(44.7, 41.3),
        mode="groundvlp", rounds=1,
    ),
    _heat("gvlp-refined", "the same, refined", _ablation(45.0, 41.9), mode="groundvlp"),
    Recipe(
        "gvlp-boxes", "the same Grad-CAM inside of boxes, for its size (GroundVLP on boxes)", (),
        "Shen et al. 2024 (GroundVLP, ALBEF)", template=PREFIX, scorer="heat-boxes",
    ),
    _heat("mean-heat", "the Grad-CAM of all words alike, refined", _ablation(43.4, 41.3), mode="mean"),
)  # fmt: skip

_GL_CLIP_NUMBERS = _reported("26.7 25.0 26.5 28.2 26.5 27.9 33.0 33.1")

_GL_CLIP = Recipe(
    "gl-clip",
    "masked features of the whole picture and a masked crop, half sentence and half noun phrase",
    (),
    "Yu et al. 2023 (GL-CLIP, ViT-B/32), as in IteRPrimE",
    template="{}",
    scorer="gl-clip",
    reported={place: number for place, number in _GL_CLIP_NUMBERS.items() if not place[0].startswith("refcocog")}
    | _phrasecut(23.6),
)

#: IteRPrimE with its ablations, then the baselines.
ITERPRIME_RECIPES: tuple[Recipe, ...] = (
    *_HEAT_RECIPES,
    _GL_CLIP,
    replace(
        _GL_CLIP,
        name="gl-clip-g",
        summary="the same with more of the masked crop, as released for RefCOCOg",
        settings={"share": 0.85},
        reported={place: number for place, number in _GL_CLIP_NUMBERS.items() if place[0].startswith("refcocog")},
    ),
    Recipe(
        "region-token",
        "a class token for every mask, which sees nothing outside of it",
        (),
        "Yu et al. 2023 (baseline, ViT-B/32), as in IteRPrimE",
        template="{}",
        scorer="region-token",
        reported=_reported("23.4 22.1 24.6 24.5 22.6 25.4 27.6 27.3"),
    ),
    replace(
        combine("ov_seg", "sam-clip", "crops of the masks, everything else black"),
        paper="Ni et al. 2023 (SAM-CLIP, ViT-B/16), as in IteRPrimE",
        template="{}",
        options=MarkOptions(fill_colour=COLOURS["black"]),
        reported=_reported("26.3 25.8 26.4 25.7 28.0 26.8 38.8 38.9"),
    ),
    Recipe(
        "car",
        "what CLIP's class activation shows, for texts that a red circle around it confirms",
        (),
        "Sun et al. 2024 (CaR, ViT-B/16), as in IteRPrimE",
        template="a clean origami {}.",
        scorer="car",
        reported=_reported("33.6 35.4 30.5 34.2 36.0 31.0 36.7 36.6"),
    ),
    Recipe(
        "ref-diff",
        "masked crops and region tokens, and where a diffusion model draws the thing; needs a Stable Diffusion",
        (),
        "Ni et al. 2023 (Ref-Diff, ViT-B/16, Stable Diffusion 1.5), as in IteRPrimE",
        template="{}",
        scorer="ref-diff",
        reported=_reported("37.2 38.4 37.2 37.3 40.5 33.0 44.0 44.5") | _phrasecut(29.4),
    ),
    Recipe(
        "tas",
        "masked crops, corrected by captions of the crop and of the picture; needs a BLIP-2",
        (),
        "Suo et al. 2023 (TAS, ViT-B/32, BLIP-2 OPT-2.7b), as in IteRPrimE",
        template="{}",
        scorer="tas",
        reported=_reported("39.8 41.1 36.2 43.6 49.1 36.5 46.6 46.8") | _phrasecut(25.6),
    ),
)

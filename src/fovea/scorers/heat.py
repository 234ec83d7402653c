"""The heat of a matching model inside of each mask: the scorer of IteRPrimE, and of plain Grad-CAM (GVLP).

The mask that holds the peak and is hot all over fits best (specs/iterprime.md, 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.matching import MatchingModel
from fovea.cache import FeatureCache
from fovea.heat.igrs import RefinedHeat, Refinement
from fovea.heat.pictures import candidates_picture, heat_picture
from fovea.heat.selection import Chosen, SelectionSettings, Tested, heat_scores, kept_masks, run_tests
from fovea.language.pieces import PREFIX
from fovea.language.primary import PrimaryWordFinder
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Step, Trace
from fovea.scorers.heat_maps import HeatMaps, round_steps

# From mean heat, 0..1, to logits: a mask that is hot all over gets e^10 times the share of a cold one.
_SHARPNESS = 10.0

# What an answer says where the tests had to be given up.
_FALLBACKS: dict[Chosen, str] = {
    "peak": "every mask that holds the peak of the heat map is in too many pieces; they were compared all the same",
    "heat": "no mask holds the peak of the heat map; the hottest one was taken",
}


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Which regions are compared for a text: ``(R,)`` bool, and by which tests."""

    kept: np.ndarray
    by: Chosen


class HeatInMasks(HeatMaps):
    """Scores regions by the heat of an expression inside of their masks.

    Args:
        model: matches texts with the picture.
        finder: names the primary and the effective words of an expression.
        refinement: how heat is merged and refined.
        selection: the tests that a mask must pass.
        template: sentence around an expression, with ``{}``.
    """

    needs_masks = True
    temperature = _SHARPNESS

    def __init__(
        self,
        model: MatchingModel,
        finder: PrimaryWordFinder,
        refinement: Refinement | None = None,
        selection: SelectionSettings | None = None,
        template: str = PREFIX,
    ) -> None:
        super().__init__(model, finder, refinement, template)
        self.selection = selection or SelectionSettings()

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Mean heat inside of every mask that passes the tests; the others cannot be meant.

        Args:
            picture: what is looked at.
            regions: R regions with masks.
            texts: T expressions or labels.
            cache: keeps heat maps, and what the model makes of picture and texts.

        Raises:
            RegionError: the regions have no masks.
        """
        values = np.full((len(regions), len(texts)), -np.inf, np.float32)
        if not values.size:
            return ScoreMatrix(values, regions, tuple(texts))
        maps, notes = self.heat(picture, texts, cache), []
        for column, (refined, found) in enumerate(zip(maps, self._candidates(regions, maps), strict=True)):
            if found.kept.any():
                heat, compared = _spread(refined, regions), regions.select(found.kept)
                means = np.concatenate([heat_scores(masks, heat) for masks in compared.mask_chunks()])
                values[found.kept, column] = _SHARPNESS * (means - 1)
            notes.append((_FALLBACKS[found.by],) if found.by in _FALLBACKS else ())
        return ScoreMatrix(values, regions, tuple(texts), tuple(notes))

    def _candidates(self, regions: Regions, maps: Sequence[RefinedHeat]) -> list[_Candidates]:
        """For every map the regions to compare; masks are decoded once for all maps."""
        tests: list[list[Tested]] = [[] for _ in maps]
        for masks in regions.mask_chunks():
            for found, refined in zip(tests, maps, strict=True):
                found.append(run_tests(masks, _spread(refined, regions), self.selection))
        return [_Candidates(*kept_masks(Tested.joined(found), self.selection)) for found in tests]

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Every round's heat, matching score and hidden patches, and the masks that passed the tests."""
        maps, traces = self.heat(picture, texts, cache), []
        for text, refined, found in zip(texts, maps, self._candidates(regions, maps), strict=True):
            steps = round_steps(picture, refined)
            steps.append(Step("refined", heat_picture(picture.pixels, _spread(refined, regions))))
            shown = candidates_picture(picture.pixels, regions.select(found.kept).each_mask())
            steps.append(Step(f"{int(found.kept.sum())} of {len(regions)} masks compared ({found.by})", shown))
            traces.append(Trace(text, tuple(steps)))
        return traces


def _spread(refined: RefinedHeat, regions: Regions) -> np.ndarray:
    """``(H, W)`` float32 in 0..1."""
    return np.asarray(refined.heat(regions.size).numpy())

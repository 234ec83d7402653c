"""The heat of a matching model inside of each box: GroundVLP, without its detector (specs/iterprime.md, 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F

from fovea.answers import ScoreMatrix
from fovea.backbones.matching import MatchingModel
from fovea.cache import FeatureCache
from fovea.heat.box_scores import box_scores
from fovea.heat.igrs import RefinedHeat, Refinement, over_picture
from fovea.heat.pictures import heat_picture
from fovea.language.pieces import PREFIX
from fovea.language.primary import PrimaryWordFinder
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Step, Trace
from fovea.scorers.heat_maps import HeatMaps, round_steps


class HeatInBoxes(HeatMaps):
    """Scores regions by the heat of an expression inside of their boxes, and by the proposer's confidence.

    Logits are logarithms of the scores, so that a region's share is its share of all scores; a score that is not
    positive cannot win, as released.

    Args:
        model: matches texts with the picture.
        finder: names the effective words of an expression.
        template: sentence around an expression, with ``{}``.
    """

    needs_masks = False
    temperature = 1.0

    def __init__(self, model: MatchingModel, finder: PrimaryWordFinder, template: str = PREFIX) -> None:
        super().__init__(model, finder, Refinement(rounds=1, mode="groundvlp"), template)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logarithms of the scores of :func:`fovea.heat.box_scores.box_scores`.

        Args:
            picture: what is looked at.
            regions: R regions; masks do not matter.
            texts: T expressions or labels.
            cache: keeps heat maps, and what the model makes of picture and texts.
        """
        values = np.full((len(regions), len(texts)), -np.inf, np.float32)
        if values.size:
            for column, refined in enumerate(self.heat(picture, texts, cache)):
                scores = box_scores(regions.boxes, unscaled(refined, picture.size), regions.scores)
                values[scores > 0, column] = np.log(scores[scores > 0])
        return ScoreMatrix(values, regions, tuple(texts))

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """The heat over the picture."""
        traces = []
        for text, refined in zip(texts, self.heat(picture, texts, cache), strict=True):
            shown = heat_picture(picture.pixels, over_picture(refined.running, picture.size).numpy())
            traces.append(Trace(text, (*round_steps(picture, refined), Step("over the picture", shown))))
        return traces


def unscaled(refined: RefinedHeat, size: tuple[int, int]) -> np.ndarray:
    """The map of the first round over a picture of that width and height, ``(H, W)`` float32, not brought to 0..1."""
    spread = F.interpolate(refined.rounds[0].merged[None, None], size[::-1], mode="bicubic", align_corners=False)
    return np.asarray(spread[0, 0].numpy())

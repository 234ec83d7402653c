"""The heat of a matching model inside of each mask: the scorer of IteRPrimE, and of plain Grad-CAM (GVLP).

An expression is asked of the whole picture; where the model looked is refined over some rounds (:mod:`fovea.heat`), and
the mask that holds the peak and is hot all over fits best (specs/iterprime.md, 0 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.matching import MatchingModel
from fovea.cache import FeatureCache
from fovea.heat.igrs import RefinedHeat, Refinement, Roles, refine
from fovea.heat.pictures import candidates_picture, heat_picture, hidden_picture
from fovea.heat.selection import Chosen, Selection, SelectionSettings, select_mask
from fovea.language.pieces import PREFIX, word_pieces
from fovea.language.primary import PrimaryWordFinder
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step, Trace

# From mean heat, 0..1, to logits: a mask that is hot all over gets e^10 times the share of a cold one.
_SHARPNESS = 10.0

# What an answer says where the tests had to be given up.
_FALLBACKS: dict[Chosen, str] = {
    "peak": "every mask that holds the peak of the heat map is in too many pieces; they were compared all the same",
    "heat": "no mask holds the peak of the heat map; the hottest one was taken",
}


class HeatInMasks:
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
        self.model, self.finder = model, finder
        self.refinement, self.selection = refinement or Refinement(), selection or SelectionSettings()
        self.template = template

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
        notes = []
        for column, chosen in enumerate(self._selections(picture, regions, texts, cache)):
            values[chosen.kept, column] = _SHARPNESS * (chosen.scores[chosen.kept] - 1)
            notes.append((_FALLBACKS[chosen.by],) if chosen.by in _FALLBACKS else ())
        return ScoreMatrix(values, regions, tuple(texts), tuple(notes))

    def _selections(
        self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache
    ) -> list[Selection]:
        masks = regions.dense_masks()
        return [
            select_mask(masks, refined.heat(picture.size).numpy(), self.selection)
            for refined in self.heat(picture, texts, cache)
        ]

    def heat(self, picture: Picture, texts: Sequence[str], cache: FeatureCache) -> list[RefinedHeat]:
        """The refined heat of every text; new ones are refined together, round by round.

        Args:
            picture: what is looked at.
            texts: expressions.
            cache: keeps heat maps, and what the model makes of picture and texts.
        """

        def compute(missing: list[int]) -> list[RefinedHeat]:
            asked = [self._read(texts[index]) for index in missing]
            states = self.model.embed_texts([sentence for sentence, _ in asked], cache)
            roles = [role for _, role in asked]
            seen = self.model.embed_picture(picture, cache)
            return refine(self.model, seen, states, roles, picture.size, self.refinement)

        shared = ("heat", self.model.key, self.finder.name, self.refinement, self.template, picture.key)
        return cache.get_or_compute_many([(*shared, text) for text in texts], compute)

    def _read(self, text: str) -> tuple[str, Roles]:
        """The sentence that the model reads, and what its tokens do."""
        focus = self.finder(text)
        pieces = word_pieces(text, self.model.tokenizer, self.template, self.model.start_token)
        sentence = self.template.replace("{}", " ".join(pieces.words))
        return sentence, Roles(pieces.effective(focus), pieces.primary(focus))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """Nothing is drawn for a region: all that counts is in :meth:`trace`."""
        return []

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Every round's heat, matching score and hidden patches, and the masks that passed the tests."""
        chosen = self._selections(picture, regions, texts, cache)
        masks = regions.dense_masks()
        traces = []
        for text, refined, selection in zip(texts, self.heat(picture, texts, cache), chosen, strict=True):
            steps = list(self._rounds(picture, refined))
            heat = refined.heat(picture.size).numpy()
            steps.append(Step("refined", heat_picture(picture.pixels, heat)))
            shown = candidates_picture(picture.pixels, masks[selection.kept])
            steps.append(Step(f"{int(selection.kept.sum())} of {len(masks)} masks compared ({selection.by})", shown))
            traces.append(Trace(text, tuple(steps)))
        return traces

    @staticmethod
    def _rounds(picture: Picture, refined: RefinedHeat) -> list[Step]:
        steps = []
        for number, one in enumerate(refined.rounds, 1):
            caption = f"round {number}: match {one.score:.3f}{'' if one.accepted else ', not accepted'}"
            shown = heat_picture(picture.pixels, one.scaled.numpy())
            steps.append(Step(caption, hidden_picture(shown, one.visible.numpy())))
        return steps

    def notes(self, text: str) -> tuple[str, ...]:
        """What was taken for the thing that the text is about."""
        focus = self.finder(text)
        if focus.primary is None:
            return ("no word of the expression names a thing; all its words count alike",)
        return ()

"""What scorers of heat share: an expression is asked of the whole picture, and where the model looked is refined.

See :mod:`fovea.heat` and specs/iterprime.md, 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from fovea.backbones.matching import MatchingModel
from fovea.cache import FeatureCache
from fovea.heat.igrs import RefinedHeat, Refinement, Roles, refine
from fovea.heat.pictures import heat_picture, hidden_picture
from fovea.language.pieces import PREFIX, word_pieces
from fovea.language.primary import PrimaryWordFinder
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step


class HeatMaps:
    """The refined heat of expressions over pictures.

    Args:
        model: matches texts with the picture.
        finder: names the primary and the effective words of an expression.
        refinement: how heat is merged and refined.
        template: sentence around an expression, with ``{}``.
    """

    def __init__(
        self,
        model: MatchingModel,
        finder: PrimaryWordFinder,
        refinement: Refinement | None = None,
        template: str = PREFIX,
    ) -> None:
        self.model, self.finder = model, finder
        self.refinement, self.template = refinement or Refinement(), template

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
        """Nothing is drawn for a region: all that counts is in the trace."""
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        """Whether nothing could be taken for the thing that the text is about."""
        focus = self.finder(text)
        if focus.primary is None:
            return ("no word of the expression names a thing; all its words count alike",)
        return ()


def round_steps(picture: Picture, refined: RefinedHeat) -> list[Step]:
    """Every round's heat, matching score and hidden patches."""
    steps = []
    for number, one in enumerate(refined.rounds, 1):
        caption = f"round {number}: match {one.score:.3f}{'' if one.accepted else ', not accepted'}"
        shown = heat_picture(picture.pixels, one.scaled.numpy())
        steps.append(Step(caption, hidden_picture(shown, one.visible.numpy())))
    return steps

"""From a recipe to its scorer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.errors import ExpressionError
from fovea.language.parsers import resolve_parser
from fovea.recipes.recipe import Recipe

if TYPE_CHECKING:
    from fovea.backbones.models import Models
    from fovea.rules.subtraction import Bank
    from fovea.scorers import Scorer
    from fovea.scorers.rendering import Rendering


def build_scorer(
    recipe: Recipe, models: Models, template: str, rendering: Rendering, parser: str, bank: Bank | None
) -> Scorer:
    """The scorer that a recipe names.

    Args:
        recipe: what to build.
        models: to build it from; only those that it needs are loaded.
        template: sentence around expressions.
        rendering: how marks are drawn, where the scorer draws any.
        parser: what reads expressions, where the scorer reads any.
        bank: expressions to subtract, or None.

    Raises:
        ExpressionError: there is no such scorer.
        CheckpointError: a model cannot be loaded, or does not allow it.
    """
    if recipe.scorer == "marked-clip":
        from fovea.scorers.marked_clip import MarkedClip

        return MarkedClip(models.clips, recipe.styles, template, rendering, bank)
    if recipe.scorer == "gl-clip":
        from fovea.scorers.gl_clip import GlobalLocal
        from fovea.scorers.masked_features import MaskedClip, SentenceAndPhrase

        return MaskedClip(models.clips, GlobalLocal(), SentenceAndPhrase(resolve_parser(parser), template))
    if recipe.scorer == "region-token":
        from fovea.scorers.masked_features import MaskedClip, Sentences
        from fovea.scorers.region_token import RegionToken

        return MaskedClip(models.clips, RegionToken(), Sentences(template))
    if recipe.scorer == "car":
        from fovea.scorers.car import Car, CarSettings

        return Car(models.clips, CarSettings(template))
    raise ExpressionError(f"the recipe {recipe.name!r} names a scorer that is not there: {recipe.scorer!r}")

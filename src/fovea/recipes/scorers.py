"""From a recipe to its scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fovea.errors import CheckpointError, ExpressionError
from fovea.language.parsers import resolve_parser
from fovea.recipes.recipe import Recipe

if TYPE_CHECKING:
    from fovea.backbones.captioner import Captioner
    from fovea.backbones.clip import ClipEncoder
    from fovea.rules.subtraction import Bank
    from fovea.scorers import Scorer
    from fovea.scorers.rendering import Rendering


def build_scorer(
    recipe: Recipe,
    encoders: Sequence[ClipEncoder],
    rendering: Rendering,
    parser: str,
    bank: Bank | None,
    load_captioner: Callable[[], Captioner],
) -> Scorer:
    """The scorer that a recipe names.

    Args:
        recipe: what to build.
        encoders: the CLIPs.
        rendering: how marks are drawn, where the scorer draws any.
        parser: what reads expressions, where the scorer reads any.
        bank: expressions to subtract, or None.
        load_captioner: loads what writes captions, where the scorer reads any.

    Raises:
        ExpressionError: there is no such scorer.
        CheckpointError: a CLIP does not allow it.
    """
    if recipe.scorer == "marked-clip":
        from fovea.scorers.marked_clip import MarkedClip

        return MarkedClip(encoders, recipe.styles, recipe.template, rendering, bank)
    if recipe.scorer == "gl-clip":
        from fovea.scorers.gl_clip import GlobalLocal
        from fovea.scorers.masked_features import MaskedClip, SentenceAndPhrase

        return MaskedClip(encoders, GlobalLocal(), SentenceAndPhrase(resolve_parser(parser), recipe.template))
    if recipe.scorer == "region-token":
        from fovea.scorers.masked_features import MaskedClip, Sentences
        from fovea.scorers.region_token import RegionToken

        return MaskedClip(encoders, RegionToken(), Sentences(recipe.template))
    if recipe.scorer == "car":
        from fovea.scorers.car import Car, CarSettings

        return Car(encoders, CarSettings(recipe.template))
    if recipe.scorer == "tas":
        from fovea.scorers.tas import Tas

        if len(encoders) != 1:
            raise CheckpointError("the recipe 'tas' takes one CLIP", "name one, such as --models mini-vit")
        return Tas(encoders[0], load_captioner(), resolve_parser(parser))
    raise ExpressionError(f"the recipe {recipe.name!r} names a scorer that is not there: {recipe.scorer!r}")

"""From a recipe to its scorer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea.backbones.sources import ModelSources, Role
from fovea.errors import CheckpointError, ExpressionError
from fovea.language.parsers import resolve_parser
from fovea.marks.styles import MarkOptions
from fovea.recipes.recipe import Recipe

if TYPE_CHECKING:
    from fovea.backbones.clip import ClipEncoder
    from fovea.backbones.models import Models
    from fovea.rules.subtraction import Bank
    from fovea.scorers import Scorer
    from fovea.scorers.marked_clip import Aggregate
    from fovea.scorers.rendering import Rendering


#: What says where things are: a captioner, and what was trained beside it.
TELLERS: tuple[Role, ...] = ("vlm", "peer")

# Models of scorers that need others than CLIPs.
_MODELS: Mapping[str, tuple[Role, ...]] = {
    "alpha-clip": ("alpha",),
    "heat": ("matcher",),
    "heat-boxes": ("matcher",),
    "region-spot": ("clip", "region_spot"),
    "told": TELLERS,
    "tas": ("clip", "captioner"),
    "ref-diff": ("clip", "diffusion"),
}


def models_of(recipe: Recipe) -> tuple[Role, ...]:
    """What kinds of models a recipe's scorer needs."""
    return _MODELS.get(recipe.scorer, ("clip",))


def summed_logits(recipe: Recipe, sources: ModelSources, aggregate: str) -> int:
    """How many looks at a region a logit of a recipe's scorer sums: visual prompts or views, times models."""
    if recipe.scorer == "alpha-clip":
        return len(recipe.settings["views"]) * len(sources.alphas)
    return (len(recipe.styles) if aggregate == "sum" else 1) * len(sources.clips)


@dataclass(frozen=True)
class Marking:
    """What marks are made with, where the scorer draws any.

    Attributes:
        options: how they look.
        rendering: how they are drawn.
        bank: expressions to subtract, or None.
        aggregate: how the scores of several visual prompts become one.
    """

    options: MarkOptions
    rendering: Rendering
    bank: Bank | None
    aggregate: Aggregate


def build_scorer(
    recipe: Recipe, models: Models, template: str, parser: str, marking: Marking, snap: bool = False
) -> Scorer:
    """The scorer that a recipe names.

    Args:
        recipe: what to build.
        models: to build it from; only those that it needs are loaded.
        template: sentence around expressions.
        parser: what reads expressions, where the scorer reads any.
        marking: what marks are made with, where the scorer draws any.
        snap: whether boxes that a captioner says become the masks that SAM sees in them.

    Raises:
        ExpressionError: there is no such scorer.
        CheckpointError: a model cannot be loaded, or does not allow it.
    """
    if recipe.scorer == "marked-clip":
        from fovea.scorers.marked_clip import MarkedClip

        return MarkedClip(models.clips, recipe.styles, template, marking.rendering, marking.bank, marking.aggregate)
    if recipe.scorer == "alpha-clip":
        from fovea.scorers.alpha_clip import AlphaClip

        return AlphaClip(models.alphas, recipe.settings["views"], template, marking.options)
    if recipe.scorer == "gl-clip":
        from fovea.scorers.gl_clip import GlobalLocal
        from fovea.scorers.masked_features import MaskedClip, SentenceAndPhrase

        view = GlobalLocal(**recipe.settings)
        return MaskedClip(models.clips, view, SentenceAndPhrase(resolve_parser(parser), template))
    if recipe.scorer == "region-token":
        from fovea.scorers.masked_features import MaskedClip, Sentences
        from fovea.scorers.region_token import RegionToken

        return MaskedClip(models.clips, RegionToken(), Sentences(template))
    if recipe.scorer == "car":
        from fovea.scorers.car import Car, CarSettings

        return Car(models.clips, CarSettings(template))
    if recipe.scorer == "region-spot":
        from fovea.datasets.subsets import COCO_NAMES
        from fovea.language.primary import resolve_finder
        from fovea.scorers.region_spot import RegionSpot

        model = models.region_spot
        distractors = model.settings.names or sorted(COCO_NAMES)
        return RegionSpot(model, distractors, resolve_finder(parser), **recipe.settings)
    if recipe.scorer == "heat":
        from fovea.heat.igrs import Refinement
        from fovea.language.primary import resolve_finder
        from fovea.scorers.heat import HeatInMasks

        return HeatInMasks(models.matcher, resolve_finder(parser), Refinement(**recipe.settings), template=template)
    if recipe.scorer == "heat-boxes":
        from fovea.language.primary import resolve_finder
        from fovea.scorers.heat_boxes import HeatInBoxes

        return HeatInBoxes(models.matcher, resolve_finder(parser), template)
    if recipe.scorer == "tas":
        from fovea.scorers.tas import Tas

        return Tas(_only_clip(recipe, models), models.captioner, resolve_parser(parser), template=template)
    if recipe.scorer == "told":
        from fovea.proposers.told import ToldBoxes
        from fovea.scorers.told import SaidSo

        load_segmenter = (lambda: models.segmenter) if snap else None
        return SaidSo(ToldBoxes(models.teller, load_segmenter=load_segmenter))
    if recipe.scorer == "ref-diff":
        from fovea.scorers.ref_diff import RefDiff

        return RefDiff(_only_clip(recipe, models), models.diffusion, resolve_parser(parser), template)
    raise ExpressionError(f"the recipe {recipe.name!r} names a scorer that is not there: {recipe.scorer!r}")


def _only_clip(recipe: Recipe, models: Models) -> ClipEncoder:
    if len(models.sources.clips) != 1:
        raise CheckpointError(f"the recipe {recipe.name!r} takes one CLIP", "name one, such as --models mini-vit")
    return models.clips[0]

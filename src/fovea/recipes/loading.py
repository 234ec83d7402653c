"""The door: builds grounders from a recipe and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fovea.backbones.models import Models
from fovea.backbones.sources import ModelSources
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.language.templates import checked_template
from fovea.marks.styles import MarkOptions
from fovea.proposers import SEARCHES, Proposer, TextProposer
from fovea.proposers.finder import RegionFinder
from fovea.proposers.grid_settings import MINI_GRID, GridSettings
from fovea.recipes.alpha_clip import ALPHA_CLIP_RECIPES
from fovea.recipes.fgvp import FGVP_RECIPES
from fovea.recipes.iterprime import ITERPRIME_RECIPES
from fovea.recipes.pin import PIN_RECIPES
from fovea.recipes.recipe import Recipe, combine
from fovea.recipes.region_spot import REGION_SPOT_RECIPES
from fovea.rules.relations import resolve_relations

if TYPE_CHECKING:
    from fovea.grounder import Grounder
    from fovea.rules.subtraction import Bank

#: Every recipe by name.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (*FGVP_RECIPES, *ALPHA_CLIP_RECIPES, *REGION_SPOT_RECIPES, *ITERPRIME_RECIPES, *PIN_RECIPES)
}


def resolve_recipe(name: str) -> Recipe:
    """A recipe by name, or an ad-hoc one from parts joined by ``+``, such as ``D4`` or ``crop+C1+R``.

    Raises:
        ExpressionError: there is no such recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    try:
        return combine(name)
    except ExpressionError as error:
        known = ", ".join(RECIPES)
        raise ExpressionError(
            f"there is no recipe called {name!r}", f"known are {known}, or parts joined by +, such as crop+D4+R"
        ) from error


def resolve_grid(sources: ModelSources, **changes: Any) -> GridSettings:
    """How pictures are searched with some models.

    Args:
        sources: of the models; embedded ones have a grid of their own.
        changes: fields of :class:`GridSettings` to set; those that are None stay.

    Raises:
        RegionError: a setting makes no sense.
    """
    usual = MINI_GRID if sources.embedded else GridSettings()
    return replace(usual, **{name: value for name, value in changes.items() if value is not None})


def load(
    recipe: str = "fgvp",
    models: str | Models = "mini",
    *,
    device: str = "auto",
    dtype: str = "float32",
    options: MarkOptions | None = None,
    relations: str = "extended",
    parser: str = "built-in",
    rendering: str = "direct",
    bank: Bank | None = None,
    aggregate: str = "sum",
    template: str | None = None,
    grid: GridSettings | None = None,
    search: str | None = None,
    snap: bool = False,
    cache: FeatureCache | None = None,
) -> Grounder:
    """Build a grounder.

    Args:
        recipe: a name from :data:`RECIPES`, or visual prompts joined by ``+``.
        models: ``mini`` (embedded), ``photo``, ``photo-small``, or directories and hub names of a CLIP and a SAM; or
            models that are there already and know their device, which several grounders may share.
        device: a torch device; ``auto`` takes a GPU where there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        options: how marks look; as the recipe says by default.
        relations: the dialect of recipes that apply relations: ``extended``, ``reclip``, ``reclip-sigmoid`` or
            ``head``.
        parser: what reads expressions for them, and for noun phrases: ``built-in``, ``spacy``, ``spacy:MODEL``, or a
            JSON file of parses.
        rendering: ``direct`` marks at the model's input size; ``parity`` as the released programs do.
        bank: expressions for recipes that subtract.
        aggregate: how the scores of several visual prompts become one: ``sum`` or ``max``.
        template: sentence around expressions, with ``{}`` in their place; the recipe's by default.
        grid: how pictures are searched where no regions are given; as :func:`resolve_grid` says by default.
        search: what searches pictures where no regions are given: ``grid`` of SAM, ``mask2former``, or ``told``, a
            captioner that says where each expression is; as the recipe says by default.
        snap: whether boxes that a captioner says become the masks that SAM sees in them, with the masks' own bounds.
        cache: of features, which several grounders may share; a new one by default.

    Returns:
        A grounder; the segmenter is loaded when it is first needed.

    Raises:
        ExpressionError: there is no such recipe, dialect, parser, rendering, aggregate or search, a recipe lacks its
            bank, a template has no place for the expression, or there is nothing to snap.
        CheckpointError: a model cannot be found or loaded.
    """
    chosen = resolve_recipe(recipe)
    sentence = chosen.template if template is None else checked_template(template)
    if chosen.subtraction and bank is None:
        raise ExpressionError(
            f"the recipe {chosen.name!r} subtracts a bank of expressions", "give one with --bank FILE"
        )
    if chosen.scorer != "marked-clip" and (rendering, aggregate) != ("direct", "sum"):
        raise ExpressionError(f"the recipe {chosen.name!r} draws no marks", "leave rendering and aggregate out")
    searched = search or chosen.search
    if snap and "told" not in (searched, chosen.scorer):
        raise ExpressionError(
            "only boxes that a captioner says are snapped", "search with told, or take the recipe pin"
        )
    opened = models if isinstance(models, Models) else Models(models, device=device, dtype=dtype)

    from fovea.grounder import Grounder
    from fovea.recipes.scorers import Marking, build_scorer, summed_logits
    from fovea.scorers.marked_clip import known_aggregate
    from fovea.scorers.rendering import resolve_rendering

    looks = options or chosen.options
    marking = Marking(
        looks,
        resolve_rendering(rendering, looks, chosen.native),
        bank if chosen.subtraction else None,
        known_aggregate(aggregate),
    )
    scored = summed_logits(chosen, opened.sources, aggregate)
    rules = resolve_relations(relations, parser, scored) if chosen.relations else None
    scorer = build_scorer(chosen, opened, sentence, parser, marking, snap)
    searcher = _searcher(searched, opened, snap)
    finder = RegionFinder(lambda: opened.segmenter, grid or resolve_grid(opened.sources), searcher)
    return Grounder(chosen.name, opened.name, scorer, finder, cache, rules)


def _searcher(name: str, models: Models, snap: bool) -> Callable[[], Proposer | TextProposer] | None:
    """What takes the place of SAM's grid; None for the grid."""
    if name == "grid":
        return None
    if name == "mask2former":
        return lambda: models.mask2former
    if name == "told":
        from fovea.proposers.told import ToldBoxes

        return lambda: ToldBoxes(models.teller, load_segmenter=(lambda: models.segmenter) if snap else None)
    raise ExpressionError(f"there is no search called {name!r}", f"known are {', '.join(SEARCHES)}")

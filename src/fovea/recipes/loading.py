"""The door: builds grounders from a recipe and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.backbones.sources import ModelSources, resolve_models
from fovea.cache import DEFAULT_BYTES, FeatureCache
from fovea.errors import CheckpointError, ExpressionError
from fovea.marks.styles import MarkOptions, parse_style
from fovea.proposers.grid_settings import MINI_GRID, GridSettings
from fovea.recipes.fgvp import FGVP_RECIPES
from fovea.recipes.iterprime import ITERPRIME_RECIPES
from fovea.recipes.recipe import Recipe, combine
from fovea.recipes.scorers import build_scorer
from fovea.rules.relations import resolve_relations

if TYPE_CHECKING:
    import torch

    from fovea.backbones.captioner import Captioner
    from fovea.backbones.sam import SamSegmenter
    from fovea.grounder import Grounder
    from fovea.rules.subtraction import Bank

#: Every recipe by name.
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*FGVP_RECIPES, *ITERPRIME_RECIPES)}


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


def _dtype(name: str) -> torch.dtype:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise CheckpointError(f"there is no dtype called {name!r}", f"known are {', '.join(known)}")
    return known[name]


def _device(name: str) -> str:
    import torch

    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"the device {name!r} is not there", "use --device cpu") from error
    return wanted


def load(
    recipe: str = "fgvp",
    models: str = "mini",
    *,
    device: str = "auto",
    dtype: str = "float32",
    options: MarkOptions | None = None,
    cache_bytes: int = DEFAULT_BYTES,
    relations: str = "extended",
    parser: str = "built-in",
    rendering: str = "direct",
    bank: Bank | None = None,
) -> Grounder:
    """Build a grounder.

    Args:
        recipe: a name from :data:`RECIPES`, or visual prompts joined by ``+``.
        models: ``mini`` (embedded), ``photo``, ``photo-small``, or directories and hub names of a CLIP and a SAM.
        device: a torch device; ``auto`` takes a GPU where there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        options: how marks look; as the recipe says by default.
        cache_bytes: most that cached features may hold.
        relations: the dialect of recipes that apply relations: ``extended`` or ``reclip``.
        parser: what reads expressions for them, and for noun phrases: ``built-in``, ``spacy``, ``spacy:MODEL``, or a
            JSON file of parses.
        rendering: ``direct`` marks at the model's input size; ``parity`` as the released programs do.
        bank: expressions for recipes that subtract.

    Returns:
        A grounder; the segmenter is loaded when it is first needed.

    Raises:
        ExpressionError: there is no such recipe, dialect, parser or rendering, or a recipe lacks its bank.
        CheckpointError: a model cannot be found or loaded.
    """
    chosen = resolve_recipe(recipe)
    sources: ModelSources = resolve_models(models)
    place, precision = _device(device), _dtype(dtype)
    rules = resolve_relations(relations, parser, len(chosen.styles) * len(sources.clips)) if chosen.relations else None

    from fovea.backbones.clip import load_clip
    from fovea.grounder import Grounder
    from fovea.scorers.rendering import resolve_rendering

    shown = resolve_rendering(rendering, options or chosen.options, chosen.native)
    if chosen.subtraction and bank is None:
        raise ExpressionError(
            f"the recipe {chosen.name!r} subtracts a bank of expressions", "give one with --bank FILE"
        )

    def load_segmenter() -> SamSegmenter:
        from fovea.backbones.sam import load_sam

        return load_sam(sources.sam, place, precision)

    def load_captions() -> Captioner:
        from fovea.backbones.captioner import load_captioner

        return load_captioner(sources.captioner, place, precision)

    encoders = [load_clip(source, place, precision) for source in sources.clips]
    used = bank if chosen.subtraction else None
    scorer = build_scorer(chosen, encoders, shown, parser, used, load_captions)
    grid = MINI_GRID if sources.embedded else GridSettings()
    return Grounder(chosen.name, sources.name, scorer, load_segmenter, grid, FeatureCache(cache_bytes), rules)


def load_proposer(needs_masks: bool, models: str = "mini", *, device: str = "auto") -> Grounder:
    """A grounder without CLIP, for work that only needs regions.

    Args:
        needs_masks: whether boxes get masks.
        models: as for :func:`load`; only the segmenter is used.
        device: a torch device.
    """
    style = parse_style("D4" if needs_masks else "P")
    sources = resolve_models(models)

    from fovea.grounder import Grounder
    from fovea.scorers.marked_clip import MarkedClip

    def load_segmenter() -> SamSegmenter:
        from fovea.backbones.sam import load_sam

        return load_sam(sources.sam, _device(device))

    grid = MINI_GRID if sources.embedded else GridSettings()
    return Grounder("none", sources.name, MarkedClip((), (style,), "{}"), load_segmenter, grid)

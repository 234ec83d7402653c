"""The papers' systems as named combinations of parts, and the door that builds them."""

from fovea.recipes.loading import RECIPES, load, resolve_grid, resolve_recipe
from fovea.recipes.recipe import Recipe, combine

__all__ = ["RECIPES", "Recipe", "combine", "load", "resolve_grid", "resolve_recipe"]

"""``fovea recipes``: what there is to choose from."""

from __future__ import annotations

import typer

NAME = "recipes"


def run() -> None:
    """List the recipes, the visual prompts and the models."""
    from rich.console import Console
    from rich.table import Table

    from fovea.backbones.sources import PRESETS
    from fovea.marks.styles import STYLES
    from fovea.recipes import RECIPES

    recipes = Table("recipe", "parts", "what it does", "source", title="--recipe", title_justify="left")
    for recipe in RECIPES.values():
        recipes.add_row(recipe.name, recipe.parts, recipe.summary, recipe.paper)
    models = Table("models", "CLIP", "SAM", title="--models", title_justify="left")
    for preset in PRESETS.values():
        clips = ", ".join(source.rsplit("/", 1)[-1] if preset.embedded else source for source in preset.clips)
        models.add_row(preset.name, clips, preset.sam.rsplit("/", 1)[-1] if preset.embedded else preset.sam)
    console = Console()
    console.print(recipes)
    typer.echo("Parts may be joined by + in place of a recipe: R for relations, S for subtraction, and visual prompts:")
    typer.echo("  " + ", ".join(f"{name} ({style.code})" for name, style in STYLES.items()) + "\n")
    console.print(models)

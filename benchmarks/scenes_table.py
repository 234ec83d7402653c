"""The table of recipes, CLIPs and proposals on unseen scenes: accuracy by kind of expression, beside chance.

    python benchmarks/scenes_table.py --count 500 --out table.json

All combinations look at a picture together and share one cache, so that a mark is embedded once however many recipes
use it. `fovea evaluate scenes` gives the same figures one combination at a time.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from fovea.backbones.clip import ClipEncoder, load_clip
from fovea.backbones.sam import load_sam
from fovea.backbones.sources import MINIS, resolve_models
from fovea.cache import FeatureCache
from fovea.evaluation.examples import composed_examples
from fovea.evaluation.grounding import Row, evaluate_grounding, summarise
from fovea.grounder import Grounder
from fovea.proposers.grid_settings import MINI_GRID
from fovea.recipes import resolve_recipe
from fovea.rules.relations import resolve_relations
from fovea.scenes.scene import FIRST_TEST_SEED
from fovea.scorers.marked_clip import MarkedClip

Cell = tuple[str, str, str]


def rows_of(
    part: tuple[int, int], names: str, recipes: list[str], proposals: list[str], clips: list[str], dialect: str
) -> dict:
    """Rows by combination for the scenes of one part: first seed and count."""
    torch.set_num_threads(1)
    encoders = {Path(clip).name: load_clip(clip) for clip in clips}
    sets: dict[str, list[ClipEncoder]] = {name: [encoder] for name, encoder in encoders.items()}
    if len(encoders) > 1:
        sets["ensemble"] = list(encoders.values())
    sam = load_sam(str(MINIS / "mini-sam"))
    results: dict[Cell, list[Row]] = defaultdict(list)
    for example in composed_examples(*part, names):
        cache = FeatureCache()
        for models, chosen in sets.items():
            for name in recipes:
                recipe = resolve_recipe(name)
                scorer = MarkedClip(chosen, recipe.styles, recipe.template)
                rules = resolve_relations(dialect, "built-in", len(recipe.styles) * len(chosen))
                grounder = Grounder(
                    name, models, scorer, lambda: sam, MINI_GRID, cache, rules if recipe.relations else None
                )
                for source in proposals:
                    results[name, models, source] += evaluate_grounding(grounder, [example], source)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=FIRST_TEST_SEED)
    parser.add_argument("--names", default="train")
    parser.add_argument("--recipes", default="crop,crop+C1,crop+D4,C1,D4,crop+C1+D4,fgvp")
    parser.add_argument("--proposals", default="ground-truth,sam-boxes,grid")
    parser.add_argument("--relations", default="extended")
    parser.add_argument("--models", default="mini-ensemble")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="receives all figures as JSON")
    options = parser.parse_args()
    # Small parts, so that both processes end together.
    step = max(1, options.count // (8 * options.processes))
    parts = [(options.seed + i, min(step, options.count - i)) for i in range(0, options.count, step)]
    work = partial(
        rows_of,
        names=options.names,
        recipes=options.recipes.split(","),
        proposals=options.proposals.split(","),
        clips=list(resolve_models(options.models).clips),
        dialect=options.relations,
    )
    merged: dict[Cell, list[Row]] = defaultdict(list)
    with ProcessPoolExecutor(options.processes) as pool:
        for result in pool.map(work, parts):
            for cell, rows in result.items():
                merged[cell] += rows
    summaries = [summarise("scenes", recipe, models, rows, source) for (recipe, models, source), rows in merged.items()]
    kinds = list(summaries[0]["metrics"])
    print("| recipe | CLIP | proposals | " + " | ".join(kinds) + " |\n|" + "---|" * (3 + len(kinds)))
    for summary in summaries:
        cells = [f"{summary['metrics'][kind]['accuracy']:.3f}" for kind in kinds]
        where = summary["provenance"]
        print(f"| {summary['recipe']} | {where['models']} | {where['proposals']} | " + " | ".join(cells) + " |")
    chance = [f"{summaries[0]['metrics'][kind]['chance']:.3f}" for kind in kinds]
    print("| chance | | | " + " | ".join(chance) + " |")
    print(f"{summaries[0]['n']} expressions on {options.count} pictures, names: {options.names}")
    if options.out:
        options.out.write_text(json.dumps(summaries, indent=1))


if __name__ == "__main__":
    main()

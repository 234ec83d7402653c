"""The ablations of RegionSpot's tables 4 and 5, on scenes: heads that differ in one thing, trained and measured alike.

Run by hand: ``python benchmarks/region_spot_ablations.py TOKENS OUT``. ``TOKENS`` holds the folders ``transformer``,
``prompt`` and ``mlp``, as ``fovea data tokens ... --token-kind`` made them of the same scenes. What was measured stands
in ``OUT/results.jsonl``, and a run that was stopped goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fovea.backbones.models import Models
from fovea.backbones.region_spot import load_region_spot
from fovea.cache import FeatureCache
from fovea.evaluation.average_precision import average_precision
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.box_sources import TrueBoxes
from fovea.evaluation.detection_benchmarks import open_detections
from fovea.evaluation.named_detections import DetectionBenchmark, evaluate_detections
from fovea.grounder import Grounder
from fovea.language.primary import resolve_finder
from fovea.networks.region_spot import Context
from fovea.proposers.finder import RegionFinder
from fovea.recipes.loading import resolve_grid
from fovea.scorers.region_spot import RegionSpot
from fovea.training.recipes import TRAININGS

_FIGURES = ("AP", "APr", "APc", "APf")


@dataclass(frozen=True)
class Variant:
    """A head that is trained.

    Attributes:
        name: of it.
        changes: to the settings of ``mini-region-spot``.
        tokens: where SAM's tokens are taken.
        asked: whether regions look at each other when it is measured.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    tokens: str = "transformer"
    asked: tuple[Context, ...] = ("set",)


VARIANTS = (
    Variant("as shipped", asked=("set", "single")),
    Variant("no class token", {"class_token": False}),
    Variant("no CLIP", {"places": False}),
    Variant("tokens of the prompt encoder", tokens="prompt"),
    Variant("tokens behind the MLP", tokens="mlp"),
    Variant("depth 1", {"depth": 1}),
    Variant("depth 3", {"depth": 3}),
    Variant("trained on single regions", {"context": "single"}, asked=("single",)),
    Variant("bare names", {"templates": ("{}",)}),
    Variant("one template", {"templates": ("a photo of the {}",)}),
    # In heads that start from places nobody looks at the class token.
    Variant("random start", {"start": "random"}),
    Variant("random start, no class token", {"start": "random", "class_token": False}),
    Variant("random start, no CLIP", {"start": "random", "places": False}),
)


class Bench:
    """Scenes on which heads are measured; what the frozen models see of them is computed once for all heads."""

    def __init__(self, scenes: int) -> None:
        self.models, self.cache = Models("mini", device="cpu"), FeatureCache()
        benchmark = open_detections("scenes-lvis", Source(limit=scenes))
        pictures = list(benchmark.pictures())
        self.benchmark: DetectionBenchmark = replace(benchmark, pictures=lambda: pictures)

    def measure(self, directory: Path, context: Context) -> dict[str, float | None]:
        """Average precisions of a head's names, on annotated boxes."""
        model = load_region_spot(str(directory), self.models.clips[0], self.models.segmenter)
        finder = RegionFinder(lambda: self.models.segmenter, resolve_grid(self.models.sources), None)
        scorer = RegionSpot(model, model.settings.names, resolve_finder(), context)
        grounder = Grounder("region-spot", "mini", scorer, finder, self.cache)
        named = evaluate_detections(grounder, self.benchmark, TrueBoxes())
        figures = average_precision(self.benchmark.categories, named.pictures, named.found, "box").figures
        return {name: figures[name] for name in _FIGURES}


def rows_of(bench: Bench, variant: Variant, options: argparse.Namespace, seed: int) -> Iterator[dict[str, Any]]:
    """Train a head and measure it."""
    training, directory = TRAININGS["mini-region-spot"], options.out / "run"
    shutil.rmtree(directory, ignore_errors=True)
    # Nothing is chosen by held-out pictures: all heads are what they are after the last step.
    settings = replace(
        training.settings, steps=options.steps, seed=seed, evaluate_every=0, held_out=1, workers=0, **variant.changes
    )
    replace(training, settings=settings).run(directory, data=options.tokens / variant.tokens)
    for context in variant.asked:
        figures = bench.measure(directory / "model", context)
        yield {"variant": variant.name, "asked": context, "seed": seed, "steps": options.steps, **figures}


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, with the smallest and the largest AP."""
    lines = ["| head | asked as | AP | APr | APc | APf | AP of single runs |", "|---|---|---|---|---|---|---|"]
    for variant in VARIANTS:
        for context in variant.asked:
            own = [row for row in rows if (row["variant"], row["asked"]) == (variant.name, context)]
            if own:
                means = " | ".join(f"{np.mean([row[name] for row in own]):.3f}" for name in _FIGURES)
                each = ", ".join(f"{row['AP']:.3f}" for row in own)
                lines.append(f"| {variant.name} | {context} | {means} | {each} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    results, bench = options.out / "results.jsonl", Bench(options.scenes)
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {(row["variant"], row["asked"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for variant in VARIANTS:
            if not {(variant.name, context, seed) for context in variant.asked} <= done:
                for row in rows_of(bench, variant, options, seed):
                    rows.append(row)
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()

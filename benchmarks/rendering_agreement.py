"""Do marks drawn directly lead to the same answers as marks drawn as released?

    python benchmarks/rendering_agreement.py --count 200

Share of expressions for which both renderings choose the same region, by recipe, with the accuracy of both. Regions are
the annotated ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch

import fovea
from fovea.evaluation.examples import composed_examples
from fovea.grounder import Grounder
from fovea.scenes.scene import FIRST_TEST_SEED

RENDERINGS = ("direct", "parity")


def chosen(part: tuple[int, int], recipes: list[str], models: str) -> dict[str, list[tuple[int, int, int]]]:
    """For every recipe and expression: the right region, and the one that each rendering chose."""
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for recipe in recipes:
        grounders = [fovea.load(recipe, models, device="cpu", rendering=rendering) for rendering in RENDERINGS]
        rows[recipe] = [row for example in composed_examples(*part) for row in _answers(example, grounders)]
    return rows


def _answers(example: object, grounders: list[Grounder]) -> Iterator[tuple[int, int, int]]:
    texts = [query.text for query in example.queries]
    first, second = (
        [answer.region for answer in grounder.find(example.picture, texts, regions=example.truth)]
        for grounder in grounders
    )
    for query, one, other in zip(example.queries, first, second, strict=True):
        yield query.targets[0], one, other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--models", default="mini")
    parser.add_argument("--recipes", default="P,C1,D4,D1,D3,crop+C1,crop+D4,fgvp")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    step = max(1, options.count // (4 * options.processes))
    parts = [(FIRST_TEST_SEED + i, min(step, options.count - i)) for i in range(0, options.count, step)]
    work = partial(chosen, recipes=options.recipes.split(","), models=options.models)
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(work, parts))
    print("| recipe | expressions | same answer | direct right | parity right |\n|---|---|---|---|---|")
    for recipe in options.recipes.split(","):
        right, direct, parity = np.array([row for result in results for row in result[recipe]]).T
        shares = ((direct == parity).mean(), (direct == right).mean(), (parity == right).mean())
        print(f"| {recipe} | {len(right)} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


if __name__ == "__main__":
    main()

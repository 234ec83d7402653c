"""Seven expressions on one picture: together, against one alone, and one by one as the released programs ask them.

    python benchmarks/expressions.py

Each round asks a fresh grounder, so that nothing is cached from before; rounds alternate, and the best of each counts.
"""

from __future__ import annotations

import argparse
import time

import torch

import fovea
from fovea.grounder import Grounder
from fovea.scenes.scene import FIRST_TEST_SEED, compose


def seconds(grounder: Grounder, pixels: object, expressions: list[str]) -> float:
    begun = time.perf_counter()
    grounder.find(pixels, expressions)
    return time.perf_counter() - begun


def fresh(options: argparse.Namespace) -> Grounder:
    grounder = fovea.load(options.recipe, options.models, device="cpu")
    _ = grounder.finder.segmenter
    return grounder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default="mini")
    parser.add_argument("--recipe", default="fgvp")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = next(s for s in range(FIRST_TEST_SEED, FIRST_TEST_SEED + 1000) if len(compose(s, 64).expressions) >= 7)
    scene = compose(seed)
    texts = [expression.text for expression in scene.expressions[:7]]
    one, seven, alone = [], [], []
    for _ in range(options.rounds):
        one.append(seconds(fresh(options), scene.pixels, texts[:1]))
        seven.append(seconds(fresh(options), scene.pixels, texts))
        # The released programs look at the picture again for every expression.
        alone.append(sum(seconds(fresh(options), scene.pixels, [text]) for text in texts))
    print(f"one expression                 {min(one) * 1e3:8.1f} ms")
    print(f"seven expressions together     {min(seven) * 1e3:8.1f} ms   {min(seven) / min(one):.2f} of one")
    print(f"seven expressions one by one   {min(alone) * 1e3:8.1f} ms   {min(alone) / min(seven):.2f} of together")


if __name__ == "__main__":
    main()

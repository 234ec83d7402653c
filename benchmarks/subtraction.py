"""What subtracting a bank of 500 expressions costs per query, once the bank is encoded.

    python benchmarks/subtraction.py

The released program encodes the whole bank for every query and subtracts its logits; here one mean vector per CLIP
stands for it. Both give the same numbers.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from fovea.backbones.clip import load_clip
from fovea.backbones.sources import MINIS
from fovea.cache import FeatureCache
from fovea.evaluation.examples import composed_examples
from fovea.language.templates import fill
from fovea.marks.styles import parse_style
from fovea.pictures import open_picture
from fovea.rules.subtraction import Bank
from fovea.scenes.scene import FIRST_TEST_SEED
from fovea.scorers.marked_clip import MarkedClip

TEMPLATE = "a photo of {}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_clip(str(MINIS / "mini-clip-resnet"))
    examples = composed_examples(FIRST_TEST_SEED, 60)
    bank = Bank.draw([query.text for example in examples for query in example.queries])
    example = examples[0]
    picture, query = open_picture(example.picture), example.queries[0].text
    styles = tuple(map(parse_style, ("D1", "D3", "D4")))
    plain, less = (MarkedClip([encoder], styles, TEMPLATE, bank=one) for one in (None, bank))
    cache = FeatureCache()
    for scorer in (plain, less):
        scorer.score(picture, example.truth, [query], cache)

    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(options.rounds):
        for name, scorer in (("without", plain), ("with", less)):
            begun = time.perf_counter()
            found = scorer.score(picture, example.truth, [query], cache)
            times[name].append(time.perf_counter() - begun)
    begun = time.perf_counter()
    negatives = encoder.encode_texts([fill(TEMPLATE, text) for text in bank.texts])
    marked = [less._embed(encoder, style, picture, example.truth, cache) for style in styles]
    wanted = encoder.encode_texts([fill(TEMPLATE, query)])
    logits = sum(encoder.logit_scale * (one @ wanted.T - (one @ negatives.T).mean(1, keepdims=True)) for one in marked)
    released = time.perf_counter() - begun
    without, with_bank = (min(times[name]) * 1e3 for name in ("without", "with"))
    print(f"a query without {without:.3f} ms, with a bank of {len(bank.texts)} {with_bank:.3f} ms")
    print(f"the bank adds {with_bank - without:.3f} ms; encoding it anew, as released, takes {released * 1e3:.0f} ms")
    print(f"largest difference of the scores {np.abs(np.asarray(logits) - found.values).max():.1e}")


if __name__ == "__main__":
    main()

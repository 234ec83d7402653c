"""One round of refinement at ALBEF's real size: what is computed here against a full forward and backward pass.

    python benchmarks/heat_step.py

The released program passes picture and text through everything in each round, and differentiates every weight. Random
weights do for timing. Ways take turns; the best of the rounds counts.
"""

from __future__ import annotations

import argparse

import torch
from timing import best

from fovea.networks.albef import Albef, AlbefConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--expressions", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Albef(AlbefConfig()).eval()
    pixels = torch.randn(1, 3, *model.config.image_size)
    ids = torch.randint(5, model.config.vocab_size, (options.expressions, 9))
    visible = torch.ones(options.expressions, 1 + model.config.grid[0] * model.config.grid[1], dtype=torch.bool)

    def released() -> None:
        model.requires_grad_(True)
        model.zero_grad()
        model(pixels, ids[:1], image_mask=visible[:1])[:, 1].sum().backward()
        model.requires_grad_(False)

    with torch.no_grad():
        image = model.image_keys_values(model.encode_image(pixels))
        states = model.encode_text(ids)

    def ours(count: int) -> None:
        model.glance(states[:count], image, model.config.heat_layer, image_mask=visible[:count])

    ways = {"released": released, "one": lambda: ours(1), "several": lambda: ours(options.expressions)}
    times = best(options.rounds, ways)
    each = times["several"] / options.expressions
    print(f"released order, one expression {times['released'] * 1e3:8.0f} ms")
    for what, taken in (("one expression", times["one"]), (f"{options.expressions} together, each", each)):
        print(f"here, {what:24} {taken * 1e3:8.0f} ms   {times['released'] / taken:.1f} times faster")


if __name__ == "__main__":
    main()

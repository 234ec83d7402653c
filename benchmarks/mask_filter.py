"""What mending masks costs: per mask against the released order, and as a share of a whole run.

    python benchmarks/mask_filter.py

The released program labels the whole plane twice per mask, again for every expression. Ways take turns; the best of the
rounds counts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from timing import best

import fovea
from fovea.proposers.grid_settings import MINI_GRID
from fovea.proposers.mask_filter import MaskFilter
from fovea.scenes.scene import FIRST_TEST_SEED, compose

FILTER = MaskFilter(fill_holes_below=400, drop_islands_below=400)


def dirty_masks(rng: np.random.Generator, count: int, width: int, height: int) -> np.ndarray:
    """``(count, height, width)`` bool: discs with holes in them and islands around."""
    ys, xs = np.mgrid[:height, :width]
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        x, y = rng.uniform(0.25, 0.75, 2) * (width, height)
        reach = np.hypot(xs - x, ys - y)
        mask[:] = reach < rng.uniform(60, 180)
        for _ in range(20):
            u, v = rng.uniform(0, 1, 2) * (width, height)
            mask ^= (np.hypot(xs - u, ys - v) < 6) & (reach < 300)
    return masks


def released(mask: np.ndarray) -> np.ndarray:
    """Holes, then islands, each on the whole plane."""
    for flip in (True, False):
        labels, count = ndimage.label(mask ^ flip, np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        small = [index + 1 for index, area in enumerate(areas) if area < 400]
        if not small:
            continue
        if flip:
            mask = mask | np.isin(labels, small)
        else:
            kept = [index for index in range(1, count + 1) if index not in small] or [int(areas.argmax()) + 1]
            mask = np.isin(labels, kept)
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--expressions", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    masks = dirty_masks(rng, 10, 1024, 768)
    for mask in masks:
        assert (released(mask) == FILTER.mend(mask)[0]).all()
    ways = {
        "released": lambda: [released(mask) for mask in masks],
        "ours": lambda: [FILTER.mend(mask) for mask in masks],
    }
    alone = {name: taken * 1e3 for name, taken in best(options.rounds, ways).items()}
    print("ten dirty masks of 768 x 1024: " + ", ".join(f"{name} {taken:.1f} ms" for name, taken in alone.items()))

    # As many pixels as 768 x 1024 has.
    scene = compose(FIRST_TEST_SEED, 887)
    boxes = np.concatenate([scene.boxes, scene.boxes + 20, scene.boxes - 20])[:10].clip(0, 886)
    texts = [expression.text for expression in scene.expressions[: options.expressions]]

    def run(mask_filter: MaskFilter) -> None:
        grounder = fovea.load("fgvp", device="cpu", grid=replace(MINI_GRID, mask_filter=mask_filter))
        _ = grounder.finder.segmenter
        begun.append(time.perf_counter())
        grounder.find(scene.pixels, texts, boxes=boxes)
        took.append(time.perf_counter() - begun[-1])

    times: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(options.rounds):
        for name, mask_filter in (("off", MaskFilter()), ("on", FILTER)):
            begun: list[float] = []
            took: list[float] = []
            run(mask_filter)
            times[name] += took
    off, on = (min(times[name]) * 1e3 for name in ("off", "on"))
    print(f"a run with ten boxes and {len(texts)} expressions: off {off:.0f} ms, on {on:.0f} ms, ratio {on / off:.3f}")
    print(f"the released order would add {alone['released'] * len(texts):.0f} ms to the same run")


if __name__ == "__main__":
    main()

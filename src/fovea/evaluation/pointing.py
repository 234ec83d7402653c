"""The pointing game: does the peak of a heat map lie on the thing that is meant?

Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2018), without its margin around the thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fovea.evaluation.examples import Example
from fovea.pictures import Picture, open_picture

#: Gives, for a picture and expressions, one heat map ``(height, width)`` each.
HeatMaps = Callable[[Picture, Sequence[str]], Sequence[np.ndarray]]


def peak(heat: np.ndarray) -> tuple[int, int]:
    """Row and column of the largest value of a map ``(height, width)``; the first of equals."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return int(row), int(column)


def evaluate_pointing(
    heat_maps: HeatMaps, examples: Iterable[Example], kinds: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """Play the pointing game.

    Args:
        heat_maps: see :data:`HeatMaps`.
        examples: with masks.
        kinds: of expression, all by default.

    Returns:
        For every kind ``n``, the ``accuracy`` and the ``chance``: how often a blind guess inside the picture would be
        right.
    """
    right: dict[str, list[bool]] = {}
    shares: dict[str, list[float]] = {}
    for example in examples:
        queries = [query for query in example.queries if kinds is None or query.kind in kinds]
        if not queries:
            continue
        masks = example.truth.dense_masks()
        maps = heat_maps(open_picture(example.picture), [query.text for query in queries])
        for query, heat in zip(queries, maps, strict=True):
            meant = np.logical_or.reduce(masks[list(query.targets)])
            right.setdefault(query.kind, []).append(bool(meant[peak(heat)]))
            shares.setdefault(query.kind, []).append(float(meant.mean()))
    return {
        kind: {"n": len(found), "accuracy": float(np.mean(found)), "chance": float(np.mean(shares[kind]))}
        for kind, found in right.items()
    }

"""Class activation as CaR refines it: places that attend to each other share their heat (specs/iterprime.md, 12).

Source: Sun et al., "CLIP as RNN: Segment Countless Visual Concepts without Training Endeavor", CVPR 2024, whose
refinement is CLIP-ES's (Lin et al., CVPR 2023).
"""

from __future__ import annotations

import numpy as np

# Rounds of normalisation by columns and rows, of which the first is CLIP-ES's own.
_ROUNDS = 3


def affinity(attention: np.ndarray) -> np.ndarray:
    """How much heat every place takes from every other.

    Args:
        attention: ``(P, P)`` float, positive.

    Returns:
        ``(P, P)`` float32: columns and rows brought to a sum of 1 in turn, made symmetric, and squared as a matrix.
    """
    shared = attention.astype(np.float64)
    for _ in range(_ROUNDS):
        shared = shared / shared.sum(0, keepdims=True)
        shared = shared / shared.sum(1, keepdims=True)
    shared = (shared + shared.T) / 2
    return np.asarray(shared @ shared, np.float32)


def refine(heat: np.ndarray, shared: np.ndarray, threshold: float) -> np.ndarray:
    """Spread heat over places that attend to each other; only what lies in a box around hot places gives any.

    Args:
        heat: ``(h, w)`` float, from 0 on.
        shared: ``(h * w, h * w)``, from :func:`affinity`.
        threshold: share of the greatest heat above which a place is hot, 0..1.

    Returns:
        ``(h, w)`` float32 in 0..1; zeros where there is no heat.
    """
    scaled = unit_range(heat)
    givers = scaled * boxes_around(scaled > threshold)
    return unit_range((shared @ givers.ravel()).reshape(heat.shape))


def boxes_around(hot: np.ndarray) -> np.ndarray:
    """Places in the bounding box of any connected part, diagonals included: ``(h, w)`` bool."""
    from scipy.ndimage import find_objects, label

    parts, _ = label(hot, np.ones((3, 3), int))
    covered = np.zeros(hot.shape, bool)
    for box in find_objects(parts):
        covered[box] = True
    return covered


def unit_range(heat: np.ndarray) -> np.ndarray:
    """Heat brought to 0..1 as float32; what is the same everywhere becomes 0."""
    low, high = float(heat.min()), float(heat.max())
    return np.asarray((heat - low) / (high - low) if high > low else np.zeros_like(heat), np.float32)

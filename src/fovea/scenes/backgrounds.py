"""Procedural backgrounds: plain, graded, blotched, striped, tiled and grainy."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Side of the small pattern that every background is enlarged from.
_SIDE = 64


def _blotches(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    cells = int(rng.integers(2, 8))
    mix = rng.random((cells, cells, 1))
    coarse = colours[0] * mix + colours[1] * (1 - mix) + rng.normal(0, 14, (cells, cells, 3))
    image = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32)


def _waves(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """A gradient, stripes or tiles: one wave or two of any direction and hardness."""
    ys, xs = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    angle, period = rng.random() * np.pi, rng.choice([0.5, 2.0, 4.0, 7.0])
    wave = np.sin(2 * np.pi * period * (xs * np.cos(angle) + ys * np.sin(angle)) + rng.random() * 6)
    if rng.random() < 0.4:
        wave = wave * np.sin(2 * np.pi * period * (ys * np.cos(angle) - xs * np.sin(angle)))
    mix = np.clip(0.5 + rng.choice([0.5, 4.0]) * wave / 2, 0, 1)[..., None]
    return np.asarray(colours[0] * mix + colours[1] * (1 - mix), np.float32)


def background(seed: int, size: int, window: tuple[float, float, float]) -> np.ndarray:
    """Draw a background.

    Args:
        seed: what it is drawn from; the same seed gives the same pattern in every window and size.
        size: side in pixels.
        window: ``(left, top, side)`` in shares of the scene's side; beyond the scene the border is repeated.

    Returns:
        ``(size, size, 3)`` uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    colours = rng.uniform(10, 250, (2, 3))
    # Most real backgrounds are of one tone: draw the second colour towards the first.
    colours[1] += rng.choice([0.0, 0.5, 0.8]) * (colours[0] - colours[1])
    kind = rng.random()
    if kind < 0.2:
        pattern = np.broadcast_to(colours[0], (_SIDE, _SIDE, 3)).astype(np.float32)
    elif kind < 0.65:
        pattern = _blotches(rng, colours)
    else:
        pattern = _waves(rng, colours)
    grain = float(rng.choice([0.0, 0.0, 6.0, 16.0]))
    left, top, side = (value * _SIDE for value in window)
    padding = max(0, int(np.ceil(max(-left, -top, left + side - _SIDE, top + side - _SIDE))))
    pattern = np.pad(np.clip(pattern, 0, 255).astype(np.uint8), ((padding,) * 2, (padding,) * 2, (0, 0)), mode="edge")
    box = (left + padding, top + padding, left + side + padding, top + side + padding)
    canvas = np.array(Image.fromarray(pattern).resize((size, size), Image.Resampling.BILINEAR, box=box))
    if grain:
        noise = rng.integers(-int(grain * 1.7), int(grain * 1.7) + 1, (size, size, 1), dtype=np.int16)
        canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    return canvas

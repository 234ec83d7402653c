"""Points as sines and cosines of several frequencies: near points have similar features, far ones do not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Half-waves across the picture, from the slowest to the fastest: the fastest still has two places of a 16 x 16 grid to
# each half-wave.
_SLOWEST, _FASTEST = 1.0, 8.0


def fourier_features(points: Tensor, channels: int) -> Tensor:
    """Features of points.

    Args:
        points: ``(..., 2)`` float, x and y in 0..1.
        channels: a multiple of 4: sine and cosine of either coordinate at each frequency.

    Returns:
        ``(..., channels)`` in -1..1; all have the length ``sqrt(channels / 2)``.
    """
    octaves = torch.linspace(math.log2(_SLOWEST), math.log2(_FASTEST), channels // 4).to(points)
    angles = points[..., None] * math.pi * 2**octaves
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def fourier_grid(grid: int, channels: int) -> Tensor:
    """Features of the centres of a grid's places, row by row: ``(grid * grid, channels)`` float32."""
    centres = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return fourier_features(torch.stack([x, y], dim=-1).flatten(0, 1), channels)

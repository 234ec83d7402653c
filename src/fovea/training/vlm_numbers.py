"""Numbers that lie on the places of a picture, which mini-vlm learns to read there.

A captioner of the web's size can read whatever lies in a token of its picture; one of a few million weights learns
what it is shown. So random numbers of four kinds are added to what its picture tower says of every place in training,
in a code that is learnt along and not shipped. They say nothing of where a place is: that is the positional insert's to
say (docs/minis.md).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

#: What the numbers run to.
STEPS = 8
#: Kinds of numbers on every place, each of which is asked for once: of a thing, the least of the first half of the
#: kinds, and the greatest of the others.
KINDS = 4

# Length of a number's code at the start, as a share of what else lies on a place.
_LENGTH = 0.5
# Waves of a code, from one along all numbers to the shortest.
_WAVES = 4


def draw_numbers(rng: np.random.Generator, owners: np.ndarray) -> np.ndarray:
    """Numbers for the places of a picture, those of a thing between two ends that are its own.

    Args:
        rng: draws them.
        owners: ``(P,)``, which thing every place belongs to; -1 for none.

    Returns:
        ``(P, KINDS)`` int64 in 0..``STEPS``.
    """
    numbers = rng.integers(0, STEPS + 1, (len(owners), KINDS))
    for thing in range(owners.max() + 1):
        here = owners == thing
        low, high = np.sort(rng.integers(0, STEPS + 1, (2, KINDS)), axis=0)
        numbers[here] = rng.integers(low, high + 1, (int(here.sum()), KINDS))
    return numbers


def ends_of(numbers: np.ndarray, here: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """What is asked of the numbers on a thing, and where it lies.

    Args:
        numbers: ``(P, KINDS)`` of all places.
        here: ``(P,)`` bool, the thing's places, one at least.

    Returns:
        The least or the greatest of every kind; and ``(KINDS, P)`` bool, the thing's places with that number.
    """
    least, greatest = numbers[here].min(0), numbers[here].max(0)
    ends = np.where(np.arange(KINDS) < KINDS // 2, least, greatest)
    return tuple(ends.tolist()), here & (ends[:, None] == numbers.T)


class NumberCode(nn.Module):
    """What is added to a place for the numbers that lie on it.

    Args:
        width: of what the picture tower says of a place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # Numbers that are near each other have codes that are.
        places = torch.linspace(-1, 1, STEPS + 1)[:, None]
        angles = torch.pi / 2 * places * torch.arange(1, _WAVES + 1)
        waves = torch.cat([places, angles.sin(), angles.cos()], dim=1)
        codes = torch.stack([waves @ torch.randn(waves.shape[1], width) for _ in range(KINDS)])
        self.codes = nn.Parameter(codes)
        self.start(1.0)

    @torch.no_grad()
    def start(self, length: float) -> None:
        """Set the size of codes by the length of what else lies on a place."""
        self.codes.mul_(_LENGTH * length / (KINDS**0.5 * self.codes.norm(dim=-1).mean()))

    def forward(self, numbers: Tensor) -> Tensor:
        """The sum of the codes of all kinds.

        Args:
            numbers: ``(..., KINDS)`` int64; -1 where none lies.

        Returns:
            ``(..., width)``.
        """
        kinds = torch.arange(KINDS, device=numbers.device)
        found: Tensor = self.codes[kinds, numbers.clamp(min=0)].sum(-2)
        return found * (numbers[..., :1] >= 0)

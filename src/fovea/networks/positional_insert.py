"""The positional insert: a small vector for every place, added to what a frozen model sees there.

Sinusoids of the places go through a small MLP, and the result is added to the picture's tokens in front of the network
that fuses them with text. It is the same for every picture. Source: PIN (Dorkenwald et al., CVPR 2024); specs/pin.md,
2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

#: ``1d`` numbers the places row by row, as published; ``2d`` gives half of the channels to rows and half to columns.
Table = Literal["1d", "2d"]


@dataclass(frozen=True)
class InsertConfig:
    """Sizes of an insert.

    Attributes:
        grid: rows and columns of the host's picture tokens.
        width: of these tokens.
        class_token: whether the host keeps a class token in front of them, which then has a place of its own.
        table: how places are numbered.
        table_width: of the sinusoids; even, and for ``2d`` a multiple of 4.
        hidden: widths of the MLP.
        learned: whether the table is trained as well, from random numbers.
        zero_init: whether the last layer starts at zero, so that the host is itself until training begins; the
            published one does not.
    """

    grid: tuple[int, int]
    width: int
    class_token: bool = False
    table: Table = "1d"
    table_width: int = 64
    hidden: tuple[int, ...] = (512, 768)
    learned: bool = False
    zero_init: bool = False

    @property
    def places(self) -> int:
        """How many tokens there are."""
        rows, columns = self.grid
        return rows * columns + self.class_token


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Sines in even channels and cosines in odd ones, of slower and slower waves.

    Args:
        places: ``(N,)`` numbers.
        width: of the result, even.

    Returns:
        ``(N, width)`` float32.
    """
    # In double precision, as the published table was made.
    rates = 10000.0 ** (-2 * torch.arange(width // 2, dtype=torch.float64) / width)
    angles = places.double()[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def _table(config: InsertConfig) -> Tensor:
    """``(1, places, table_width)``: what every place starts from."""
    width, count = config.table_width, config.places
    if config.learned:
        bound = (2 / (count + width)) ** 0.5
        return torch.empty(1, count, width).uniform_(-bound, bound)
    if config.table == "1d":
        return sinusoids(torch.arange(count), width)[None]
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in config.grid), indexing="ij")
    table = torch.cat([sinusoids(axis.flatten(), width // 2) for axis in (rows, columns)], dim=1)
    # No sinusoid is all zeros: the class token is told apart from every place.
    return torch.cat([torch.zeros(int(config.class_token), width), table])[None]


class PositionalInsert(nn.Module):
    """A vector for every place of a host's grid. Its parameters have the published names.

    Args:
        config: its sizes.
    """

    pos_enc: Tensor

    def __init__(self, config: InsertConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = config.table_width
        for hidden in config.hidden:
            # The norm comes behind the activation, as published.
            layers += [nn.Linear(before, hidden), nn.SiLU(), nn.LayerNorm(hidden)]
            before = hidden
        last = nn.Linear(before, config.width)
        if config.zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(*layers, last)
        if config.learned:
            self.pos_enc = nn.Parameter(_table(config))
        else:
            self.register_buffer("pos_enc", _table(config))

    def forward(self) -> Tensor:
        """``(places, width)``, to be added to the tokens of any picture."""
        found: Tensor = self.mlp(self.pos_enc[0])
        return found

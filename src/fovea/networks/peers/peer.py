"""What all kinds have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from fovea.networks.host_shape import Room

#: The id that stands in a text where no word is, but a vector that a peer puts there.
VACANT = -1


class PeerNetwork(nn.Module):
    """Weights beside a frozen host, in float32 whatever the host's precision.

    Attributes:
        config: its sizes, a dataclass of plain data.
    """

    config: Any

    def room(self, model: nn.Module) -> Room:
        """The places that a host's texts have to keep free for it."""
        return Room()

    def attached(self, model: nn.Module) -> AbstractContextManager[None]:
        """A context in which a host works with it; afterwards the host is what it was.

        Args:
            model: the host's module.

        Raises:
            CheckpointError: the host has other sizes; where only its tokens can tell, when it is asked.
        """
        raise NotImplementedError


def put_behind(tokens: Tensor, vectors: Tensor, place: int) -> Tensor:
    """Tokens ``(..., N, width)`` with vectors ``(k, width)`` between the first so many and the others."""
    fitted = vectors.to(tokens.dtype).expand(*tokens.shape[:-2], *vectors.shape)
    return torch.cat([tokens[..., :place, :], fitted, tokens[..., place:, :]], dim=-2)


def left_out(tokens: Tensor, place: int, count: int) -> Tensor:
    """Tokens ``(..., N, width)`` without ``count`` of them from a place on."""
    return torch.cat([tokens[..., :place, :], tokens[..., place + count :, :]], dim=-2)

"""Visual prompt tuning of the fusing network: learnt tokens beside those of the picture.

Source: inferred for the baseline "VPT on F" (specs/pin.md, 7).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from fovea.networks.host_shape import Room
from fovea.networks.insert_ports import changed_tokens, port_of
from fovea.networks.peers.peer import PeerNetwork, put_behind


@dataclass(frozen=True)
class TokensConfig:
    """Sizes.

    Attributes:
        width: of the tokens.
        patch: side of the tower's patches in pixels; the larger, the smaller the first tokens.
        count: how many are learnt.
        dropout: of them, while they are trained.
    """

    width: int
    patch: int
    count: int = 20
    dropout: float = 0.0


def first_tokens(config: TokensConfig) -> nn.Parameter:
    """``(count, width)``, drawn as Jia et al., "Visual Prompt Tuning" (2022), draw them."""
    bound = (6 / (3 * config.patch**2 + config.width)) ** 0.5
    return nn.Parameter(torch.empty(config.count, config.width).uniform_(-bound, bound))


class FusionTokens(PeerNetwork):
    """Tokens that enter the network between tower and words, behind the picture's.

    A resampler makes the same few of however many come in. A projector makes one word of each: the text has to hold
    places for more.

    Args:
        config: their sizes; the width is that of what leaves the tower.
    """

    config: TokensConfig

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens, self.dropout = first_tokens(config), nn.Dropout(config.dropout)

    def room(self, model: nn.Module) -> Room:
        """See :meth:`PeerNetwork.room`."""
        return Room() if port_of(model).any_number else Room(pictures=self.config.count)

    def attached(self, model: nn.Module) -> AbstractContextManager[None]:
        """See :meth:`PeerNetwork.attached`."""
        return changed_tokens(model, lambda tokens: put_behind(tokens, self.dropout(self.tokens), tokens.shape[-2]))

"""The positional insert as a peer: a vector for every place of the picture."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import nn

from fovea.networks.insert_ports import inserted
from fovea.networks.peers.peer import PeerNetwork
from fovea.networks.positional_insert import InsertConfig, PositionalInsert


class InsertPeer(PositionalInsert, PeerNetwork):
    """Adds to the tokens that leave the picture tower."""

    config: InsertConfig

    def attached(self, model: nn.Module) -> AbstractContextManager[None]:
        """See :meth:`PeerNetwork.attached`."""
        found: AbstractContextManager[None] = inserted(model, self.forward)
        return found

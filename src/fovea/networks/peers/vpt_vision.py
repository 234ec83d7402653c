"""Visual prompt tuning of the picture tower: learnt tokens between its class token and its patches.

Source: Jia et al., "Visual Prompt Tuning" (2022), the shallow variant, as PIN's released program has it (specs/pin.md,
7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from fovea.networks.host_shape import shape_of, tower_blocks
from fovea.networks.insert_ports import changed_tokens, port_of
from fovea.networks.peers.peer import PeerNetwork, left_out, put_behind
from fovea.networks.peers.vpt_fusion import TokensConfig, first_tokens


class TowerTokens(PeerNetwork):
    """Tokens that enter the first layer of the tower.

    Where a resampler follows they leave the tower with the others, as published. Where each token that leaves becomes
    a word they are left out there, so that the text stays what it is.

    Args:
        config: their sizes; the width is that within the tower.
    """

    config: TokensConfig

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens, self.dropout = first_tokens(config), nn.Dropout(config.dropout)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """See :meth:`PeerNetwork.attached`."""
        shape, kept = shape_of(model), port_of(model).any_number

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            tokens: Tensor = args[0] if args else kwargs["hidden_states"]
            more = put_behind(tokens, self.dropout(self.tokens), int(shape.tower_class_token))
            return ((more, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": more})

        def leave(tokens: Tensor) -> Tensor:
            return tokens if kept else left_out(tokens, int(shape.class_token), self.config.count)

        _, first = tower_blocks(model)[0]
        with ExitStack() as stack:
            stack.callback(first.register_forward_pre_hook(enter, with_kwargs=True).remove)
            # Also where they are kept: some networks are told which tokens count.
            stack.enter_context(changed_tokens(model, leave))
            yield

"""Low-rank adaptation of the picture tower, beside it: its weights stay as they are, and so do its files.

Adapters that are to become part of a tower are another matter (:mod:`fovea.training.adapters`). Source: Hu et al.,
"LoRA" (2021), where and how large as PIN's released program has it (specs/pin.md, 7). There queries, keys and values of
a CLIP share an adapter, which they also do here in towers that compute them together; in others each has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fovea.errors import CheckpointError
from fovea.networks.host_shape import tower_blocks, tower_of
from fovea.networks.insert_ports import port_of
from fovea.networks.peers.peer import PeerNetwork


@dataclass(frozen=True)
class LoraConfig:
    """Sizes.

    Attributes:
        layers: path within the tower, width of the input and of the output of each layer that is adapted.
        rank: of the adapters.
        alpha: they are multiplied by this, divided by the rank.
        dropout: of what they see, while they are trained.
    """

    layers: tuple[tuple[str, int, int], ...]
    rank: int = 8
    alpha: float = 16
    dropout: float = 0.1


def linear_layers(model: nn.Module) -> tuple[tuple[str, int, int], ...]:
    """All linear layers of a host's tower that its words can tell from others, as :class:`LoraConfig` names them."""
    start = f"{port_of(model).tower}."
    return tuple(
        (f"{path.removeprefix(start)}.{name}", module.in_features, module.out_features)
        for path, block in tower_blocks(model)
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear)
    )


class _Adapter(nn.Module):
    """``B A x``; ``B`` starts at zero, so that nothing changes at first."""

    def __init__(self, width: int, out: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, out, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, seen: Tensor) -> Tensor:
        found: Tensor = self.up(self.down(seen))
        return found


class TowerAdapters(PeerNetwork):
    """Adapters beside the linear layers of a tower.

    Args:
        config: where, and how large.
    """

    config: LoraConfig

    def __init__(self, config: LoraConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        # Names of modules must not have dots.
        self.adapters = nn.ModuleDict(
            {path.replace(".", "/"): _Adapter(width, out, config.rank) for path, width, out in config.layers}
        )

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """See :meth:`PeerNetwork.attached`."""
        tower = tower_of(model)
        if not set(map(tuple, self.config.layers)) <= set(linear_layers(model)):
            raise CheckpointError("the adapters belong to layers that the model lacks", "use the one of their training")
        with ExitStack() as stack:
            for name, adapter in self.adapters.items():
                layer = tower.get_submodule(name.replace("/", "."))
                stack.callback(layer.register_forward_hook(self._hook(adapter)).remove)
            yield

    def _hook(self, adapter: nn.Module) -> Any:
        scale = self.config.alpha / self.config.rank

        def hook(_: nn.Module, args: tuple[Any, ...], found: Tensor) -> Tensor:
            seen: Tensor = args[0]
            added = adapter(self.dropout(seen.to(next(adapter.parameters()).dtype)))
            return (found.to(added.dtype) + scale * added).to(found.dtype)

        return hook

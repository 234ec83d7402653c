"""Context optimisation: learnt words in front of the question.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models" (2022); where they stand in a captioner's text is
inferred (specs/pin.md, 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fovea.networks.host_shape import Room
from fovea.networks.peers.peer import VACANT, PeerNetwork


@dataclass(frozen=True)
class WordsConfig:
    """Sizes.

    Attributes:
        width: of the host's words.
        count: how many are learnt.
    """

    width: int
    count: int = 20


class LearntWords(PeerNetwork):
    """Vectors in the space of a language model's words, behind the picture and in front of the question.

    Args:
        config: their sizes.
    """

    config: WordsConfig

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Parameter(0.02 * torch.randn(config.count, config.width))

    def room(self, model: nn.Module) -> Room:
        """See :meth:`PeerNetwork.room`."""
        return Room(words=self.config.count)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """See :meth:`PeerNetwork.attached`."""
        embeddings: Any = model
        embedding: nn.Module = embeddings.get_input_embeddings()
        vacant: list[Tensor] = []

        def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            vacant[:] = [args[0] == VACANT]
            return (args[0].masked_fill(vacant[0], 0), *args[1:])

        def after(_: nn.Module, args: tuple[Any, ...], found: Tensor) -> Tensor:
            rows = int(vacant[0].sum()) // self.config.count
            # Behind the first token of an answer there are none.
            return found.masked_scatter(vacant[0][..., None], self.words.to(found.dtype).repeat(rows, 1))

        handles = embedding.register_forward_pre_hook(before), embedding.register_forward_hook(after)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

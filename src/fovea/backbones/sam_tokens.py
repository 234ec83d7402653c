"""SAM's token of every box, computed once: whoever decodes the masks of boxes leaves their tokens here."""

from __future__ import annotations

from collections.abc import Hashable
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.choices import chosen
from fovea.errors import ExpressionError
from fovea.networks.sam import TokenKind
from fovea.pictures import Picture


def known_token_kind(name: str) -> TokenKind:
    """A place to take tokens by name.

    Raises:
        ExpressionError: there is no such place.
    """
    kinds: tuple[TokenKind, ...] = get_args(TokenKind)
    return chosen(name, kinds, ExpressionError(f"SAM has no tokens called {name!r}", f"known are {', '.join(kinds)}"))


def _keys(segmenter: SamSegmenter, picture: Picture, boxes: np.ndarray, kind: TokenKind) -> list[Hashable]:
    return [("sam-token", segmenter.key, picture.key, kind, box.tobytes()) for box in boxes]


def box_tokens(
    segmenter: SamSegmenter,
    picture: Picture,
    boxes: np.ndarray,
    cache: FeatureCache,
    kind: TokenKind = "transformer",
) -> Tensor:
    """The token of the one mask that SAM sees in each box. Masks are neither needed nor made.

    Args:
        segmenter: the network.
        picture: what is looked at.
        boxes: ``(N, 4)`` float32 xyxy pixels, N at least 1.
        cache: keeps the picture's embedding and the tokens.
        kind: where they are taken.

    Returns:
        ``(N, C)`` float32.
    """

    def compute(missing: list[int]) -> list[Tensor]:
        embedding = segmenter.embed(picture, cache)
        found = segmenter.tokens(embedding, picture.size, boxes=boxes[missing], kind=kind)[:, 0]
        # Rows of their own: a view would keep the whole batch alive.
        return [row.clone() for row in found]

    return torch.stack(cache.get_or_compute_many(_keys(segmenter, picture, boxes, kind), compute))


def keep_box_tokens(
    segmenter: SamSegmenter, picture: Picture, boxes: np.ndarray, tokens: Tensor, cache: FeatureCache
) -> None:
    """Keep the tokens ``(N, C)`` of boxes that were decoded for their masks."""
    cache.get_or_compute_many(
        _keys(segmenter, picture, boxes, "transformer"), lambda missing: [tokens[row].clone() for row in missing]
    )

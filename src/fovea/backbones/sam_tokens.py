"""SAM's token of every box, computed once: whoever decodes the masks of boxes leaves their tokens here."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import torch
from torch import Tensor

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.pictures import Picture


def _keys(segmenter: SamSegmenter, picture: Picture, boxes: np.ndarray) -> list[Hashable]:
    return [("sam-token", segmenter.key, picture.key, box.tobytes()) for box in boxes]


def box_tokens(segmenter: SamSegmenter, picture: Picture, boxes: np.ndarray, cache: FeatureCache) -> Tensor:
    """The token of the one mask that SAM sees in each box. Masks are neither needed nor made.

    Args:
        segmenter: the network.
        picture: what is looked at.
        boxes: ``(N, 4)`` float32 xyxy pixels, N at least 1.
        cache: keeps the picture's embedding and the tokens.

    Returns:
        ``(N, C)`` float32.
    """

    def compute(missing: list[int]) -> list[Tensor]:
        embedding = segmenter.embed(picture, cache)
        found = segmenter.tokens(embedding, picture.size, boxes=boxes[missing])[:, 0]
        # Rows of their own: a view would keep the whole batch alive.
        return [row.clone() for row in found]

    return torch.stack(cache.get_or_compute_many(_keys(segmenter, picture, boxes), compute))


def keep_box_tokens(
    segmenter: SamSegmenter, picture: Picture, boxes: np.ndarray, tokens: Tensor, cache: FeatureCache
) -> None:
    """Keep the tokens ``(N, C)`` of boxes that were decoded for their masks."""
    cache.get_or_compute_many(
        _keys(segmenter, picture, boxes), lambda missing: [tokens[row].clone() for row in missing]
    )

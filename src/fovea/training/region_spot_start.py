"""A start for RegionSpot's head that already looks at the right places, by least squares and without a step.

From random weights a head has to find out two things at once: where a region's token says it is, and what CLIP's tokens
there mean. With few pictures it finds neither. Where positions stand behind CLIP's tokens both can be had at the start:
a linear map from SAM's tokens to the position features of the boxes' centres gives the queries, the features
themselves are the keys, tokens pass through as the values, and CLIP's own readout says what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fovea.datasets.region_tokens import PictureTokens
from fovea.errors import DataError
from fovea.networks.fourier import fourier_features
from fovea.networks.region_spot import RegionSpotHead

# What stays of the random weights: enough to learn from, too little to disturb.
_REST = 0.05
# How sharply places are looked at, and how much the linear map is held back.
_GAIN, _RIDGE = 0.6, 0.1


@torch.no_grad()
def start_from_places(
    head: RegionSpotHead, pictures: Sequence[PictureTokens], positions: int, readout: tuple[Tensor, Tensor]
) -> None:
    """Give a head weights with which regions look at the middles of their boxes.

    Args:
        head: changed in place.
        pictures: some hundreds, with their boxes.
        positions: channels of position behind CLIP's tokens.
        readout: CLIP's map from tokens to texts: weight ``(text_width, clip_width)`` and bias ``(text_width,)``.

    Raises:
        DataError: the tokens have no positions, or too many for the heads.
    """
    width, heads = head.config.clip_width, head.config.heads
    if not 0 < positions <= width // heads:
        raise DataError(
            f"the start from places needs positions, at most {width // heads} of them, and the tokens have {positions}",
            "make them with --positions 32, or start at random",
        )
    weight, bias = _positions_of_tokens(pictures, positions)
    head.to_clip.weight *= _REST
    head.to_clip.bias.zero_()
    head.to_clip.weight[-positions:], head.to_clip.bias[-positions:] = weight, bias
    for layer in head.decoder.layers:
        layer.self_attn.out_proj.weight *= _REST
        layer.linear2.weight *= _REST
        _look_where_positions_agree(layer.multihead_attn, positions)
    head.projector.weight.copy_(readout[0])
    head.projector.bias.copy_(readout[1])


def _look_where_positions_agree(attention: nn.MultiheadAttention, positions: int) -> None:
    """Every head compares the positions of regions and places; what is seen passes as it is."""
    width, size = attention.embed_dim, attention.head_dim
    compare = torch.zeros(width, width)
    for head in range(attention.num_heads):
        rows = head * size + torch.arange(positions)
        compare[rows, torch.arange(width - positions, width)] = _GAIN
    weight = attention.in_proj_weight
    weight[: 2 * width] = _REST * weight[: 2 * width] + compare.repeat(2, 1)
    weight[2 * width :] = torch.eye(width)
    attention.out_proj.weight.copy_(torch.eye(width))


def _positions_of_tokens(pictures: Sequence[PictureTokens], positions: int) -> tuple[Tensor, Tensor]:
    """The linear map from SAM's tokens to the features of the middles of their boxes: weight and bias."""
    tokens = torch.from_numpy(np.concatenate([one.tokens for one in pictures])).double()
    middles = np.concatenate([(one.boxes[:, :2] + one.boxes[:, 2:]) / 2 / one.size for one in pictures])
    wanted = fourier_features(torch.from_numpy(middles).double(), positions)
    known = torch.cat([tokens, torch.ones(len(tokens), 1, dtype=torch.float64)], dim=1)
    held_back = known.T @ known + _RIDGE * torch.eye(known.shape[1], dtype=torch.float64)
    found = torch.linalg.solve(held_back, known.T @ wanted).float()
    return found[:-1].T, found[-1]

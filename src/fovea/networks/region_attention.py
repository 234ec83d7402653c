"""Attention of one query per region: it sees the places inside of its region, and itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Attended:
    """Projected tokens of one attention layer, heads not yet split; D channels in all.

    Attributes:
        queries: ``(R, D)``, one per region.
        own_keys: ``(R, D)``.
        own_values: ``(R, D)``.
        keys: ``(P, D)``, those of the places, which all regions share.
        values: ``(P, D)``.
    """

    queries: Tensor
    own_keys: Tensor
    own_values: Tensor
    keys: Tensor
    values: Tensor


def attend_inside(tokens: Attended, inside: Tensor, heads: int) -> Tensor:
    """Attention in which every region's query sees its own token and the places of its region.

    Nobody sees the queries, so the places are the same for every region and are projected once.

    Args:
        tokens: of the layer.
        inside: ``(R, P)`` bool; a region without any place sees itself alone.
        heads: of the layer.

    Returns:
        ``(R, D)``, before the output projection.
    """
    width = tokens.queries.shape[1] // heads
    parts = (tokens.queries, tokens.own_keys, tokens.own_values, tokens.keys, tokens.values)
    queries, own_keys, own_values, keys, values = (part.unflatten(1, (heads, width)) for part in parts)
    logits = torch.einsum("rhd,phd->rhp", queries, keys).masked_fill(~inside[:, None], float("-inf"))
    own = (queries * own_keys).sum(-1, keepdim=True)
    # Half precision would lose what the softmax divides by.
    logits = torch.cat([logits, own], dim=-1).float() * width**-0.5
    shares = logits.softmax(-1).to(values.dtype)
    mixed = torch.einsum("rhp,phd->rhd", shares[..., :-1], values) + shares[..., -1:] * own_values
    return mixed.flatten(1)

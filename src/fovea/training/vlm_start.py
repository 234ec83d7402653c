"""Where mini-vlm's language model starts: words lie where a linear map puts what they name, and heads look for them.

From random weights a captioner of this size does not find out within hours that a word in a question stands for a place
of the picture.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from fovea.training.clip_scenes import NO_LABEL

# Against directions that hardly any scene has.
_RIDGE = 0.01
# How much of what says nothing of names goes along.
_REST = 0.2
# Length of a place's token; a word's is a third of it.
_LENGTH = 1.0
# Similar tokens look at each other with logits of about this much.
_SIMILAR = 2.5


def name_map(tokens: Tensor, labels: Tensor, names: Tensor) -> Tensor:
    """The matrix that comes nearest to putting every token, less their mean, at the name of what it shows.

    Args:
        tokens: ``(N, D)`` of the picture tower.
        labels: ``(N,)`` int64, which name each shows.
        names: ``(C, E)``, where the names lie.

    Returns:
        ``(E, D)``, by ridge regression.
    """
    centred = tokens - tokens.mean(0)
    spread = centred.T @ centred / len(tokens)
    ridge = _RIDGE * spread.trace() / len(spread) * torch.eye(len(spread))
    wanted = names[labels] - names[labels].mean(0)
    return torch.linalg.solve(spread + ridge, centred.T @ wanted / len(tokens)).T


@torch.no_grad()
def start_projector(projector: Any, tokens: Tensor, labels: Tensor, names: Tensor) -> None:
    """Let a linear projector put pictures' places among the words.

    Args:
        projector: of a LLaVA, linear: two layers of the width of its tokens.
        tokens: ``(N, D)`` of the picture tower.
        labels: ``(N,)``, which name each shows.
        names: ``(C, E)`` of unit length, where the names lie.
    """
    weight = name_map(tokens, labels, names)
    scaled = weight / (tokens @ weight.T).std(0).mean()
    rest = nn.init.orthogonal_(torch.empty_like(weight)) * (_REST / tokens.std(0).mean())
    projector.linear_1.weight.copy_(torch.eye(weight.shape[1]))
    projector.linear_1.bias.copy_(-tokens.mean(0))
    length = ((tokens - tokens.mean(0)) @ (scaled + rest).T).norm(dim=1).mean()
    projector.linear_2.weight.copy_(_LENGTH * (scaled + rest) / length)
    projector.linear_2.bias.zero_()


@torch.no_grad()
def start_heads(layers: nn.ModuleList) -> None:
    """Let every head begin by looking at tokens like its own: keys are made as queries are."""
    for layer in layers:
        attention: Any = layer.self_attn
        query = attention.q_proj.weight
        width = query.shape[1]
        # A head of size h has h such products of variance (std^2 * width), divided by the root of h.
        std = (_SIMILAR / (width * attention.head_dim**0.5)) ** 0.5
        nn.init.normal_(query, std=std)
        attention.k_proj.weight.copy_(query)


@torch.no_grad()
def look_at_scenes(see: Any, data: Dataset[dict[str, Any]], batches: int) -> tuple[Tensor, Tensor]:
    """Tokens of things, and what they are.

    Args:
        see: from pixels ``(B, S, S, 3)`` uint8 to tokens ``(B, P, D)``.
        data: batches with ``pixels`` and ``place_names``.
        batches: how many are looked at.

    Returns:
        ``(N, D)`` and ``(N,)``.
    """
    tokens, labels = [], []
    for number in range(batches):
        batch = data[number]
        names = torch.as_tensor(batch["place_names"])
        known = names != NO_LABEL
        tokens.append(see(torch.as_tensor(batch["pixels"]))[known])
        labels.append(names[known])
    return torch.cat(tokens), torch.cat(labels)


def named_directions(embeddings: Tensor, ids: Tensor) -> Tensor:
    """Where names lie among the words: the sums of their words, of unit length.

    Args:
        embeddings: ``(V, E)``.
        ids: ``(C, W)`` int64, the words of every name, -1 behind the last.

    Returns:
        ``(C, E)``.
    """
    words = embeddings[ids.clamp(min=0)] * (ids >= 0)[..., None]
    return F.normalize(words.sum(1), dim=-1)

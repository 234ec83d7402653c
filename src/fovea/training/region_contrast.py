"""The contrast of regions and texts, over the batches of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

# Some hundred megabytes with the widest CLIPs.
_MOST_TEXTS = 100_000


class _Gather(torch.autograd.Function):
    """Torch has this under names that change with its versions."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # What the losses of all processes say of the rows of this one.
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes under each other, the same on every one; gradients find their way back.

    The released program's gathering lets none through, so that on several devices its loss of texts against pictures
    trains nothing: only half of the gradient of pictures against texts is left (specs/alphaclip.md, 3). Here the
    gradient is that of one process with all the batches. Processes average their gradients, and every one has the whole
    loss: that cancels out.

    Args:
        rows: ``(B, ...)``, as many on every process.

    Returns:
        ``(processes * B, ...)``; without other processes the rows themselves.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    joined: Tensor = _Gather.apply(rows.contiguous())
    return joined


def same_texts(keys: Tensor) -> Tensor:
    """What every row ought to fit: the rows with its text, equally.

    With a few hundred names, one text stands several times in a batch. The released loss would call all but one of them
    wrong. Where all texts differ this is the identity, and the loss is the released one.

    Args:
        keys: ``(N,)``, equal for equal texts.

    Returns:
        ``(N, N)`` float32, symmetric, rows add up to 1.
    """
    same = (keys[:, None] == keys[None]).float()
    return same / same.sum(1, keepdim=True)


def region_contrast(pictures: Tensor, texts: Tensor, keys: Tensor, scale: Tensor, smoothing: float) -> Tensor:
    """Symmetric cross-entropy of regions and texts.

    Args:
        pictures: ``(N, D)`` of unit length, each with its alpha.
        texts: ``(N, D)`` of unit length, what is said of them.
        keys: ``(N,)``, equal for equal texts.
        scale: that multiplies cosines, a scalar.
        smoothing: of the labels, 0..1.

    Returns:
        Mean of the losses of pictures against texts and of texts against pictures, a scalar.
    """
    logits, wanted = scale * pictures @ texts.t(), same_texts(keys)
    across = F.cross_entropy(logits, wanted, label_smoothing=smoothing)
    down = F.cross_entropy(logits.t(), wanted, label_smoothing=smoothing)
    return (across + down) / 2


class TextCache:
    """Embeddings of texts, each computed once: the text tower is frozen.

    Args:
        encode: embeds ``(N, L)`` int64 token ids as ``(N, D)``.
        most: how many are kept; the oldest go first.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], most: int = _MOST_TEXTS) -> None:
        self._encode, self._most = encode, most
        self._kept: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(self, ids: Tensor, keys: Tensor) -> Tensor:
        """Embed texts.

        Args:
            ids: ``(B, L)`` int64 token ids.
            keys: ``(B,)`` int64, equal for equal texts.

        Returns:
            ``(B, D)`` float32 of unit length, without gradient, on the device of the ids.
        """
        wanted = keys.tolist()
        # One row of each text that is new.
        new = {key: row for row, key in enumerate(wanted) if key not in self._kept}
        if new:
            embedded = F.normalize(self._encode(ids[list(new.values())]).float(), dim=-1).cpu()
            self._kept.update(zip(new, embedded, strict=True))
        found = torch.stack([self._kept[key] for key in wanted]).to(ids.device)
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return found

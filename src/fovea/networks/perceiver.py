"""Flamingo's two inventions, with OpenFlamingo's parameter names: the resampler and the gated cross-attention.

Source: Alayrac et al. 2022 as OpenFlamingo 2 built it; specs/pin.md, 8. All linear layers go without a bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class AttentionSizes:
    """Sizes of attention and of the layers behind it.

    Attributes:
        heads: of the attention.
        head_width: of each.
        expansion: how much wider the feed-forward part is inside.
    """

    heads: int = 8
    head_width: int = 64
    expansion: int = 4


def _feed_forward(width: int, expansion: int) -> nn.Sequential:
    inner = width * expansion
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False)
    )


class _Attention(nn.Module):
    """Queries of one width, keys and values of another."""

    def __init__(self, width: int, key_width: int, sizes: AttentionSizes) -> None:
        super().__init__()
        self.heads, inner = sizes.heads, sizes.heads * sizes.head_width
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(key_width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def attend(self, queries: Tensor, seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(..., Q, width)`` and ``(..., K, key_width)``; the mask is added to ``(..., heads, Q, K)`` scores."""
        keys, values = self.to_kv(seen).chunk(2, dim=-1)
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for one in (self.to_q(queries), keys, values))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        found: Tensor = self.to_out(mixed.transpose(-3, -2).flatten(-2))
        return found


class PerceiverAttention(_Attention):
    """Latents look at a picture's tokens, and at themselves."""

    def __init__(self, width: int, sizes: AttentionSizes) -> None:
        super().__init__(width, width, sizes)
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """``(..., N, width)`` and ``(..., latents, width)`` to the latter."""
        latents = self.norm_latents(latents)
        return self.attend(latents, torch.cat([self.norm_media(tokens), latents], dim=-2))


class PerceiverResampler(nn.Module):
    """However many tokens pictures have, to a few each.

    Args:
        width: of the tokens.
        depth: layers.
        latents: tokens that are left.
        sizes: of its layers.
        most_pictures: pictures of a text that it tells apart by their order; 0 for none, as released.
        most_frames: frames of a film likewise.
    """

    def __init__(
        self,
        width: int,
        depth: int = 6,
        latents: int = 64,
        sizes: AttentionSizes | None = None,
        most_pictures: int = 0,
        most_frames: int = 0,
    ) -> None:
        super().__init__()
        sizes = sizes or AttentionSizes()
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.frame_embs = nn.Parameter(torch.randn(most_frames, width)) if most_frames else None
        self.media_time_embs = nn.Parameter(torch.randn(most_pictures, 1, width)) if most_pictures else None
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, sizes), _feed_forward(width, sizes.expansion)])
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Resample.

        Args:
            tokens: ``(B, T, F, N, width)``: of F frames of T pictures for each of B texts.

        Returns:
            ``(B, T, latents, width)``.
        """
        if self.frame_embs is not None:
            tokens = tokens + self.frame_embs[: tokens.shape[2], None]
        tokens = tokens.flatten(2, 3)
        if self.media_time_embs is not None:
            tokens = tokens + self.media_time_embs[: tokens.shape[1]]
        latents = self.latents.expand(*tokens.shape[:2], -1, -1)
        for layer in self.layers:
            attention, feed_forward = layer.children()
            latents = latents + attention(tokens, latents)
            latents = latents + feed_forward(latents)
        found: Tensor = self.norm(latents)
        return found


class _MaskedCrossAttention(_Attention):
    def __init__(self, width: int, media_width: int, sizes: AttentionSizes) -> None:
        super().__init__(width, media_width, sizes)
        self.norm = nn.LayerNorm(width)


class GatedCrossAttention(nn.Module):
    """What stands in front of some layers of a language model: words look at pictures, as far as gates let them.

    Args:
        width: of the words.
        media_width: of the pictures' tokens.
        sizes: of its layers.
        latest_only: whether a word sees the last picture in front of it, or all of them.
    """

    def __init__(
        self, width: int, media_width: int, sizes: AttentionSizes | None = None, latest_only: bool = True
    ) -> None:
        super().__init__()
        sizes = sizes or AttentionSizes()
        self.attn = _MaskedCrossAttention(width, media_width, sizes)
        self.ff = _feed_forward(width, sizes.expansion)
        # Closed: a language model that is given one is itself until it has been trained.
        self.attn_gate, self.ff_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.latest_only = latest_only

    def forward(self, words: Tensor, media: Tensor, order: Tensor | None = None) -> Tensor:
        """Let words look.

        Args:
            words: ``(B, L, width)``.
            media: ``(B, T, n, media_width)``, n tokens of each of T pictures.
            order: ``(B, L)`` int64, how many pictures have been named up to each word; None lets every word see
                all pictures.

        Returns:
            ``(B, L, width)``.
        """
        words = words + self.attn_gate.tanh() * self.look(words, media, order)
        return words + self.ff_gate.tanh() * self.ff(words)

    def look(self, words: Tensor, media: Tensor, order: Tensor | None = None) -> Tensor:
        """What the words see, in front of the gate; arguments as of :meth:`forward`."""
        mask = None if order is None else self._mask(order, *media.shape[1:3]).to(words.dtype)
        seen = self.attn.attend(self.attn.norm(words), media.flatten(1, 2), mask)
        if order is not None and self.latest_only:
            seen = seen * (order > 0)[..., None]
        return seen

    def _mask(self, order: Tensor, pictures: int, each: int) -> Tensor:
        """``(B, 1, L, T * n)``. Not minus infinity: a word in front of all pictures sees all alike, as released."""
        numbers = torch.arange(1, pictures + 1, device=order.device).repeat_interleave(each)
        hidden = order[..., None] != numbers if self.latest_only else order[..., None] < numbers
        return hidden[:, None] * torch.finfo(torch.float32).min

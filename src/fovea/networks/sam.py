"""SAM's network, with the parameter names of Hugging Face's SamModel, so that any such checkpoint loads as it is.

Own code for two reasons: importing transformers' class takes longer than answering a question with a small SAM, and
whoever works with regions needs to get between its steps. Source: Kirillov et al., "Segment Anything" (2023); tested
against transformers' class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.networks.sam_config import SamNetworkConfig
from fovea.networks.sam_decoder import ChannelNorm, MaskDecoder, Mlp, PromptEncoder

#: Where the token of a prompt is taken (table 4 of RegionSpot): as the prompt encoder makes it, the mean of its two;
#: behind the decoder's transformer; or behind the small network that turns it into a mask.
TokenKind = Literal["prompt", "transformer", "mlp"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """What the decoder says about P prompts of each of B pictures, with M masks each.

    Attributes:
        masks: ``(B, P, M, 4 g, 4 g)`` logits.
        quality: ``(B, P, M)`` estimates of their IoU.
        tokens: ``(B, P, M, C)``, the decoder's token of each mask, behind its transformer.
    """

    masks: Tensor
    quality: Tensor
    tokens: Tensor


def _relative(table: Tensor, size: int) -> Tensor:
    """Position embeddings ``(size, size, D)`` of all pairs along one axis; a table of another length is stretched."""
    if len(table) != 2 * size - 1:
        table = F.interpolate(table.t()[None], 2 * size - 1, mode="linear")[0].t()
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None] + size - 1]


class _VisionAttention(nn.Module):
    """Attention of all patches of a square to each other."""

    def __init__(self, config: SamNetworkConfig, side: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        depth = config.hidden_size // self.heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.relative = config.use_rel_pos
        if self.relative:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, depth))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, depth))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, S, C)`` to the same."""
        batch, side, _, width = x.shape
        q, k, v = self.qkv(x).view(batch, side * side, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self._bias(q, side) if self.relative else None
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        found: Tensor = self.proj(out.transpose(1, 2).reshape(batch, side, side, width))
        return found

    def _bias(self, q: Tensor, side: int) -> Tensor:
        """``(B, heads, S * S, S * S)``: what the distances along both axes add."""
        square = q.reshape(*q.shape[:2], side, side, -1)
        down = torch.einsum("bnhwc,hkc->bnhwk", square, _relative(self.rel_pos_h, side))
        across = torch.einsum("bnhwc,wkc->bnhwk", square, _relative(self.rel_pos_w, side))
        return (down[..., :, None] + across[..., None, :]).reshape(*q.shape[:2], side * side, side * side)


class _VisionLayer(nn.Module):
    def __init__(self, config: SamNetworkConfig, window: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn = _VisionAttention(config, window or config.grid)
        self.mlp = Mlp(width, config.mlp_dim, nn.GELU())
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.layer_norm1(x))
        found: Tensor = x + self.mlp(self.layer_norm2(x))
        return found

    def _attend(self, x: Tensor) -> Tensor:
        """Attention within windows; the last ones are filled up with nothing."""
        if not self.window:
            whole: Tensor = self.attn(x)
            return whole
        batch, side, _, width = x.shape
        window, rest = self.window, -side % self.window
        padded = F.pad(x, (0, 0, 0, rest, 0, rest))
        count = padded.shape[1] // window
        cut = padded.view(batch, count, window, count, window, width).transpose(2, 3)
        seen = self.attn(cut.reshape(-1, window, window, width))
        joined = seen.view(batch, count, count, window, window, width).transpose(2, 3)
        return joined.reshape(batch, side + rest, side + rest, width)[:, :side, :side]


class _Neck(nn.Module):
    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        out = config.output_channels
        self.conv1 = nn.Conv2d(config.hidden_size, out, 1, bias=False)
        self.layer_norm1 = ChannelNorm(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.layer_norm2 = ChannelNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer_norm2(self.conv2(self.layer_norm1(self.conv1(x.permute(0, 3, 1, 2)))))
        return found


class SamVisionEncoder(nn.Module):
    """The picture encoder: ``(B, 3, S, S)`` normalised pixels to ``(B, C, g, g)``."""

    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(3, config.hidden_size, size, stride=size)})
        if config.use_abs_pos:
            self.pos_embed = nn.Parameter(torch.zeros(1, config.grid, config.grid, config.hidden_size))
        self.layers = nn.ModuleList(
            _VisionLayer(config, 0 if index in config.global_attn_indexes else config.window_size)
            for index in range(config.num_hidden_layers)
        )
        self.neck = _Neck(config)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        x = self.patch_embed["projection"](pixels).permute(0, 2, 3, 1)
        if hasattr(self, "pos_embed"):
            x = x + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        found: Tensor = self.neck(x)
        return found


class _Positions(nn.Module):
    """Random Fourier features of places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """``(..., 2)`` x and y in shares of the square's side to ``(..., width)``."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_embedding)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Sam(nn.Module):
    """A SAM for boxes and single points.

    Args:
        config: its sizes.
    """

    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.shared_image_embedding = _Positions(config.output_channels)
        self.vision_encoder = SamVisionEncoder(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)

    def decode(self, image: Tensor, prompts: Tensor, multimask: bool) -> Decoded:
        """Masks for prompts, and their tokens.

        Args:
            image: ``(B, C, g, g)`` embeddings of pictures.
            prompts: of each picture, ``(B, P, 4)`` xyxy boxes or ``(B, P, 2)`` xy points, in pixels of the square.
            multimask: three masks for unclear prompts, or the one for clear ones.
        """
        tokens, seen = self._look(image, self._prompts(prompts))
        masks, quality = self.mask_decoder.masks(tokens, seen)
        shape, kept = prompts.shape[:2], slice(1, None) if multimask else slice(0, 1)
        own = tokens[:, 1 : 1 + self.mask_decoder.count]
        return Decoded(*(found.unflatten(0, shape)[:, :, kept] for found in (masks, quality, own)))

    def tokens(self, image: Tensor, prompts: Tensor, multimask: bool, kind: TokenKind = "transformer") -> Tensor:
        """The tokens of prompts alone, without their masks.

        Args:
            image: ``(B, C, g, g)`` embeddings of pictures.
            prompts: as of :meth:`decode`.
            multimask: one token for each of three masks, or the one for clear prompts.
            kind: where they are taken.

        Returns:
            ``(B, P, M, C)``; of kind ``mlp`` ``(B, P, M, C / 8)``. Of kind ``prompt`` all M are the same.
        """
        shape, kept = prompts.shape[:2], slice(1, None) if multimask else slice(0, 1)
        asked = self._prompts(prompts)
        if kind == "prompt":
            found = asked.mean(1, keepdim=True).expand(-1, self.mask_decoder.count, -1)
        else:
            tokens, _ = self._look(image, asked)
            found = self.mask_decoder.filters(tokens) if kind == "mlp" else tokens[:, 1 : 1 + self.mask_decoder.count]
        return found.unflatten(0, shape)[:, :, kept]

    def token_width(self, kind: TokenKind) -> int:
        """Numbers in a token of :meth:`tokens`."""
        width = self.config.output_channels
        return width // 8 if kind == "mlp" else width

    def _prompts(self, prompts: Tensor) -> Tensor:
        """``(B * P, 2, C)``."""
        return (self._boxes(prompts) if prompts.shape[-1] == 4 else self._points(prompts)).flatten(0, 1)

    def _look(self, image: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        image = image + self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        return self.mask_decoder.look(prompts, image, self._places())

    def _places(self) -> Tensor:
        """``(g * g, C)``: where the middles of the patches are."""
        middles = (torch.arange(self.config.grid, device=self._device) + 0.5) / self.config.grid
        ys, xs = torch.meshgrid(middles, middles, indexing="ij")
        found: Tensor = self.shared_image_embedding(torch.stack([xs, ys], dim=-1)).flatten(0, 1)
        return found

    @property
    def _device(self) -> torch.device:
        return self.shared_image_embedding.positional_embedding.device

    def _boxes(self, boxes: Tensor) -> Tensor:
        """``(B, P, 2, C)``: two corners, to the middle of their pixels."""
        corners = (boxes.unflatten(-1, (2, 2)) + 0.5) / self.config.image_size
        kinds = torch.cat([self.prompt_encoder.kind(2), self.prompt_encoder.kind(3)])
        found: Tensor = self.shared_image_embedding(corners) + kinds
        return found

    def _points(self, points: Tensor) -> Tensor:
        """``(B, P, 2, C)``: a point on the thing, and one that is none, as SAM expects where there is no box."""
        places = self.shared_image_embedding((points + 0.5) / self.config.image_size)
        on_it = places + self.prompt_encoder.kind(1)[0]
        return torch.stack([on_it, self.prompt_encoder.not_a_point_embed.weight[0].expand_as(on_it)], dim=-2)

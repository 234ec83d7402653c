"""The picture tower of ALBEF and BLIP: a plain vision transformer that hands on every token.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), as used by ALBEF; specs/iterprime.md, 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from fovea.networks.albef import AlbefConfig


class _PatchEmbed(nn.Module):
    """One vector per patch; a module of its own only to keep the released parameter names."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.vision_width, config.patch_size, stride=config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        patches: Tensor = self.proj(pixels)
        return patches.flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.heads = config.vision_heads
        self.qkv = nn.Linear(config.vision_width, 3 * config.vision_width)
        self.proj = nn.Linear(config.vision_width, config.vision_width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        split = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return found


class _Mlp(nn.Module):
    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.vision_width, config.vision_mlp_width)
        self.fc2 = nn.Linear(config.vision_mlp_width, config.vision_width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class _Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.vision_width, eps=config.vision_norm_eps)
        self.attn = _Attention(config)
        self.norm2 = nn.LayerNorm(config.vision_width, eps=config.vision_norm_eps)
        self.mlp = _Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class AlbefVision(nn.Module):
    """The picture tower; parameter names as released (``visual_encoder.*``)."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        height, width = config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.vision_width))
        self.pos_embed = nn.Parameter(torch.zeros(1, height * width + 1, config.vision_width))
        self.patch_embed = _PatchEmbed(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.vision_depth))
        self.norm = nn.LayerNorm(config.vision_width, eps=config.vision_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures.

        Args:
            pixels: ``(B, 3, height, width)``, normalised, of the configured size.

        Returns:
            ``(B, 1 + patches, vision_width)``: the class token, then the patches row by row.
        """
        patches = self.patch_embed(pixels)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens)
        return found


def resize_positions(table: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Position embeddings for another grid of patches: the patch part is stretched, the class token's stays.

    Args:
        table: ``(1, 1 + rows * columns, width)``.
        grid: its rows and columns.
        wanted: those of the result.

    Returns:
        ``(1, 1 + wanted rows * wanted columns, width)``; the same table where the grid is the wanted one.
    """
    if grid == wanted:
        return table
    patches = table[:, 1:].float().transpose(1, 2).unflatten(2, grid)
    stretched = F.interpolate(patches, wanted, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], stretched.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)

"""The second half of a SAM: what prompts are, and the decoder that turns them into tokens, and tokens into masks.

With the parameter names of Hugging Face's SamModel. The two halves of the decoder can be had apart: tokens of regions
are worth something without their masks (specs/regionspot.md, 2), and masks are most of the work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.networks.sam_config import SamNetworkConfig


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``(B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every place by itself."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linear layers around an activation."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1, self.lin2, self.activation = nn.Linear(width, hidden), nn.Linear(hidden, width), activation

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        found: Tensor = self.lin2(self.activation(self.lin1(x)))
        return found


class PromptEncoder(nn.Module):
    """What prompts are; the encoder of mask prompts is kept for the sake of checkpoints."""

    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        width, channels = config.output_channels, config.mask_input_channels
        self.point_embed = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_embed = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(1, channels // 4, 2, stride=2),
                "layer_norm1": ChannelNorm(channels // 4),
                "conv2": nn.Conv2d(channels // 4, channels, 2, stride=2),
                "layer_norm2": ChannelNorm(channels),
                "conv3": nn.Conv2d(channels, width, 1),
            }
        )

    def kind(self, index: int) -> Tensor:
        """``(1, C)``: what a place is: off the thing, on it, its upper left corner, its lower right one."""
        embedding = self.point_embed[index]
        assert isinstance(embedding, nn.Embedding)  # for the type checker: that is what the list holds
        return embedding.weight


class _Attention(nn.Module):
    """Attention of the decoder, on narrower vectors where it crosses between tokens and picture."""

    def __init__(self, width: int, heads: int, rate: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width // rate) for _ in range(3))
        self.out_proj = nn.Linear(width // rate, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``(N, Q, C)`` from ``(N, K, C)``; keys and values may stand for several queries, ``(N / n, K, C)``."""
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )
        if len(k) != len(q):
            # What all prompts of a picture look at is projected once.
            k, v = (shared.repeat_interleave(len(q) // len(k), dim=0) for shared in (k, v))
        found: Tensor = self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found


class _TwoWayLayer(nn.Module):
    def __init__(self, config: SamNetworkConfig, first: bool) -> None:
        super().__init__()
        width, heads, rate = config.output_channels, config.decoder_heads, config.attention_downsample_rate
        self.self_attn = _Attention(width, heads)
        self.cross_attn_token_to_image = _Attention(width, heads, rate)
        self.cross_attn_image_to_token = _Attention(width, heads, rate)
        self.mlp = Mlp(width, config.decoder_mlp_dim, nn.ReLU())
        # torch's default epsilon, as in the original; transformers writes another one into its configurations.
        self.layer_norm1, self.layer_norm2, self.layer_norm3, self.layer_norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.first = first

    def forward(self, tokens: Tensor, image: Tensor, prompts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            tokens = tokens + self.self_attn(tokens + prompts, tokens + prompts, tokens)
        tokens = self.layer_norm1(tokens)
        tokens = self.layer_norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, image + places, image))
        tokens = self.layer_norm3(tokens + self.mlp(tokens))
        if len(image) != len(tokens):
            image = image.repeat_interleave(len(tokens) // len(image), dim=0)
        image = self.layer_norm4(image + self.cross_attn_image_to_token(image + places, tokens + prompts, tokens))
        return tokens, image


class _TwoWayTransformer(nn.Module):
    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        width = config.output_channels
        self.layers = nn.ModuleList(_TwoWayLayer(config, index == 0) for index in range(config.decoder_layers))
        self.final_attn_token_to_image = _Attention(width, config.decoder_heads, config.attention_downsample_rate)
        self.layer_norm_final_attn = nn.LayerNorm(width)

    def forward(self, prompts: Tensor, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, places)
        tokens = tokens + self.final_attn_token_to_image(tokens + prompts, image + places, image)
        return self.layer_norm_final_attn(tokens), image


class _Head(nn.Module):
    """An MLP of ReLUs."""

    def __init__(self, width: int, hidden: int, out: int, depth: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 2))
        self.proj_out = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj_in(x).relu()
        for layer in self.layers:
            x = layer(x).relu()
        found: Tensor = self.proj_out(x)
        return found


class MaskDecoder(nn.Module):
    """Prompts and a picture's embedding to masks, in two halves.

    Args:
        config: of the SAM.
    """

    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        width, self.count = config.output_channels, config.num_multimask_outputs + 1
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(self.count, width)
        self.transformer = _TwoWayTransformer(config)
        self.upscale_conv1 = nn.ConvTranspose2d(width, width // 4, 2, stride=2)
        self.upscale_layer_norm = ChannelNorm(width // 4)
        self.upscale_conv2 = nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2)
        self.output_hypernetworks_mlps = nn.ModuleList(_Head(width, width, width // 8, 3) for _ in range(self.count))
        self.iou_prediction_head = _Head(width, config.iou_head_hidden_dim, self.count, config.iou_head_depth)

    def look(self, prompts: Tensor, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """First half: what the tokens have seen.

        Args:
            prompts: ``(B * P, K, C)``, K tokens for each of P prompts of B pictures.
            image: ``(B, C, g, g)``.
            places: ``(g * g, C)``, where the patches are.

        Returns:
            ``(B * P, 1 + M + K, C)``: the token of the quality, one for each of M masks, the prompts'; and
            ``(B * P, g * g, C)``, the pictures as they have seen the tokens.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(prompts), -1, -1)
        found: tuple[Tensor, Tensor] = self.transformer(
            torch.cat([own, prompts], dim=1), image.flatten(2).transpose(1, 2), places
        )
        return found

    def filters(self, tokens: Tensor) -> Tensor:
        """What the tokens of the masks say of each pixel's features: ``(B * P, M, C / 8)``."""
        heads = enumerate(self.output_hypernetworks_mlps)
        return torch.stack([head(tokens[:, 1 + index]) for index, head in heads], dim=1)

    def masks(self, tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Second half, most of the work: ``(B * P, M, 4 g, 4 g)`` masks and ``(B * P, M)`` their quality."""
        side = int(seen.shape[1] ** 0.5)
        plane = seen.transpose(1, 2).unflatten(-1, (side, side))
        plane = F.gelu(self.upscale_layer_norm(self.upscale_conv1(plane)))
        plane = F.gelu(self.upscale_conv2(plane))
        masks = torch.einsum("nmc,nchw->nmhw", self.filters(tokens), plane)
        return masks, self.iou_prediction_head(tokens[:, 0])

"""SAM's network, with the parameter names of Hugging Face's SamModel, so that any such checkpoint loads as it is.

Own code for two reasons: importing transformers' class takes longer than answering a question with a small SAM, and
whoever works with regions needs to get between its steps. Source: Kirillov et al., "Segment Anything" (2023); tested
against transformers' class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class SamNetworkConfig:
    """Sizes of a SAM; the defaults are those of SAM-base.

    Attributes:
        image_size: side of the square input in pixels.
        patch_size: side of a patch in pixels.
        hidden_size: width of the picture encoder.
        mlp_dim: hidden width of its MLPs.
        num_hidden_layers: its depth.
        num_attention_heads: its heads.
        window_size: side of its attention windows in patches; 0 for none.
        global_attn_indexes: layers without windows.
        use_rel_pos: whether attention knows relative positions.
        use_abs_pos: whether patches know absolute ones.
        qkv_bias: whether queries, keys and values have a bias.
        layer_norm_eps: of the picture encoder.
        output_channels: width of the embedding and of the decoder.
        mask_input_channels: width of the encoder of mask prompts.
        decoder_mlp_dim: hidden width of the decoder's MLPs.
        decoder_layers: its depth.
        decoder_heads: its heads.
        attention_downsample_rate: by how much its cross attention is narrower.
        num_multimask_outputs: masks for an unclear prompt.
        iou_head_depth: layers of the head that estimates quality.
        iou_head_hidden_dim: its width.
    """

    image_size: int = 1024
    patch_size: int = 16
    hidden_size: int = 768
    mlp_dim: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    use_rel_pos: bool = True
    use_abs_pos: bool = True
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-6
    output_channels: int = 256
    mask_input_channels: int = 16
    decoder_mlp_dim: int = 2048
    decoder_layers: int = 2
    decoder_heads: int = 8
    attention_downsample_rate: int = 2
    num_multimask_outputs: int = 3
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256

    @property
    def grid(self) -> int:
        """Side of the embedding in patches."""
        return self.image_size // self.patch_size

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any]) -> Self:
        """Read a ``config.json`` of a SamModel; what it leaves out is as in SAM-base.

        Args:
            config: its content.
        """
        vision = dict(config.get("vision_config") or {})
        decoder = config.get("mask_decoder_config") or {}
        prompts = config.get("prompt_encoder_config") or {}
        if vision.get("mlp_dim") is None:
            vision["mlp_dim"] = int(vision.get("hidden_size", cls.hidden_size) * vision.get("mlp_ratio", 4.0))
        renamed = {
            "decoder_mlp_dim": decoder.get("mlp_dim"),
            "decoder_layers": decoder.get("num_hidden_layers"),
            "decoder_heads": decoder.get("num_attention_heads"),
            "mask_input_channels": prompts.get("mask_input_channels"),
        }
        same = {name: decoder.get(name) for name in _DECODER_FIELDS} | {
            field.name: vision.get(field.name) for field in fields(cls) if field.name in vision
        }
        known = {name: value for name, value in (same | renamed).items() if value is not None}
        if "global_attn_indexes" in known:
            known["global_attn_indexes"] = tuple(known["global_attn_indexes"])
        return cls(**known)


_DECODER_FIELDS = ("attention_downsample_rate", "num_multimask_outputs", "iou_head_depth", "iou_head_hidden_dim")


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``(B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1, self.lin2, self.activation = nn.Linear(width, hidden), nn.Linear(hidden, width), activation

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.lin2(self.activation(self.lin1(x)))
        return found


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
        self.mlp = _Mlp(width, config.mlp_dim, nn.GELU())
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
        self.layer_norm1 = _ChannelNorm(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.layer_norm2 = _ChannelNorm(out)

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


class _PromptEncoder(nn.Module):
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
                "layer_norm1": _ChannelNorm(channels // 4),
                "conv2": nn.Conv2d(channels // 4, channels, 2, stride=2),
                "layer_norm2": _ChannelNorm(channels),
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
        self.mlp = _Mlp(width, config.decoder_mlp_dim, nn.ReLU())
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


class _MaskDecoder(nn.Module):
    def __init__(self, config: SamNetworkConfig) -> None:
        super().__init__()
        width, self.count = config.output_channels, config.num_multimask_outputs + 1
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(self.count, width)
        self.transformer = _TwoWayTransformer(config)
        self.upscale_conv1 = nn.ConvTranspose2d(width, width // 4, 2, stride=2)
        self.upscale_layer_norm = _ChannelNorm(width // 4)
        self.upscale_conv2 = nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2)
        self.output_hypernetworks_mlps = nn.ModuleList(_Head(width, width, width // 8, 3) for _ in range(self.count))
        self.iou_prediction_head = _Head(width, config.iou_head_hidden_dim, self.count, config.iou_head_depth)

    def forward(self, prompts: Tensor, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(B * P, N, C)``, pictures ``(B, C, g, g)``, positions ``(g * g, C)``: masks and their quality."""
        side = image.shape[-1]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(prompts), -1, -1)
        tokens, seen = self.transformer(torch.cat([own, prompts], dim=1), image.flatten(2).transpose(1, 2), places)
        plane = seen.transpose(1, 2).unflatten(-1, (side, side))
        plane = F.gelu(self.upscale_layer_norm(self.upscale_conv1(plane)))
        plane = F.gelu(self.upscale_conv2(plane))
        weights = [head(tokens[:, 1 + index]) for index, head in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("nmc,nchw->nmhw", torch.stack(weights, dim=1), plane)
        return masks, self.iou_prediction_head(tokens[:, 0])


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
        self.prompt_encoder = _PromptEncoder(config)
        self.mask_decoder = _MaskDecoder(config)

    def decode(self, image: Tensor, prompts: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Masks for prompts.

        Args:
            image: ``(B, C, g, g)`` embeddings of pictures.
            prompts: of each picture, ``(B, P, 4)`` xyxy boxes or ``(B, P, 2)`` xy points, in pixels of the square.
            multimask: three masks for unclear prompts, or the one for clear ones.

        Returns:
            ``(B, P, M, 4 g, 4 g)`` logits and ``(B, P, M)`` estimates of their IoU.
        """
        batch, count = prompts.shape[:2]
        tokens = (self._boxes(prompts) if prompts.shape[-1] == 4 else self._points(prompts)).flatten(0, 1)
        image = image + self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        masks, quality = self.mask_decoder(tokens, image, self._places())
        kept = slice(1, None) if multimask else slice(0, 1)
        return masks.unflatten(0, (batch, count))[:, :, kept], quality.unflatten(0, (batch, count))[:, :, kept]

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

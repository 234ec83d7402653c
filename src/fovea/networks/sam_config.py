"""The sizes of a SAM, and how transformers writes them down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


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

"""ALBEF's matching model: does this text describe this picture, and where did the text look?

Three parts that depend on different things, so that each is computed once: the picture tower with the keys and values
of its tokens (per picture), the text layers in front of the fusion (per text), the fusion layers (per pair and mask).
Parameter names are the released ones. BLIP is the same network with fusion from the first layer on and without token
types.

Source: Li et al., "Align before Fuse" (2021); specs/iterprime.md, 2 and 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from fovea.networks.albef_text import AlbefText, KeysValues
from fovea.networks.albef_vision import AlbefVision


@dataclass(frozen=True)
class AlbefConfig:
    """Sizes of one model; the defaults are those of the released ALBEF.

    Attributes:
        image_size: height and width of the input in pixels, multiples of the patch.
        patch_size: side of a patch in pixels.
        vision_width: channels of the picture tower.
        vision_depth: its blocks.
        vision_heads: its attention heads.
        vision_mlp_width: hidden width of its MLPs.
        vision_norm_eps: of its layer norms.
        vocab_size: size of the token vocabulary.
        max_positions: longest text in tokens.
        token_types: token type embeddings, of which only the first is used; 0 for none.
        hidden_size: channels of the text side.
        depth: its layers, those that fuse included.
        num_heads: its attention heads.
        intermediate_size: hidden width of its MLPs.
        text_norm_eps: of its layer norms.
        fusion_layer: first layer, counted from 0, that attends to the picture; so do all behind it.
        heat_layer: the layer whose attention makes the best heat maps, found by trial.

    Raises:
        ValueError: the heat layer does not attend to the picture.
    """

    image_size: tuple[int, int] = (256, 256)
    patch_size: int = 16
    vision_width: int = 768
    vision_depth: int = 12
    vision_heads: int = 12
    vision_mlp_width: int = 3072
    vision_norm_eps: float = 1e-6
    vocab_size: int = 30522
    max_positions: int = 512
    token_types: int = 2
    hidden_size: int = 768
    depth: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    text_norm_eps: float = 1e-12
    fusion_layer: int = 6
    heat_layer: int = 8

    def __post_init__(self) -> None:
        if self.heat_layer not in self.fusion_layers:
            raise ValueError(f"layer {self.heat_layer} does not attend to the picture; {self.fusion_layers} do")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def fusion_layers(self) -> range:
        """The layers that attend to the picture."""
        return range(self.fusion_layer, self.depth)

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            TypeError: an unknown setting.
        """
        known = {name: value for name, value in settings.items() if name != "model_type"}
        if "image_size" in known:
            height, width = known["image_size"]
            known["image_size"] = (int(height), int(width))
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The content of a ``config.json``."""
        return {"model_type": "albef"} | asdict(self)


@dataclass(frozen=True, eq=False)
class Glance:
    """Where texts looked in pictures, and how much it counted.

    Attributes:
        logits: ``(B, 2)``; column 1 is for a match.
        attention: ``(B, heads, L, 1 + patches)`` attention probabilities of one fusion layer; key 0 is the picture's
            class token.
        gradient: of the match logit with respect to them, same shape.
    """

    logits: Tensor
    attention: Tensor
    gradient: Tensor


class Albef(nn.Module):
    """Both towers, the fusion and the matching head."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = AlbefVision(config)
        self.text_encoder = AlbefText(config)
        self.itm_head = nn.Linear(config.hidden_size, 2)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.visual_encoder.cls_token, std=0.02)
        nn.init.trunc_normal_(self.visual_encoder.pos_embed, std=0.02)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Tokens ``(B, 1 + patches, vision_width)`` of normalised pixels ``(B, 3, height, width)``."""
        tokens: Tensor = self.visual_encoder(pixels)
        return tokens

    def image_keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """All that the fusion needs of pictures: keys and values of their tokens in every fusion layer, in order.

        Args:
            tokens: ``(B, 1 + patches, vision_width)``; B of 1 serves any number of texts.
        """
        layers = (self.text_encoder.layer(number) for number in self.config.fusion_layers)
        return tuple(layer.crossattention.self.keys_values(tokens) for layer in layers)

    def encode_text(self, ids: Tensor, text_mask: Tensor | None = None) -> Tensor:
        """States in front of the fusion.

        Args:
            ids: ``(B, L)`` int64, the class token first.
            text_mask: ``(B, L)`` bool, False where a row is padded; None where none is.

        Returns:
            ``(B, L, hidden_size)``.
        """
        states: Tensor = self.text_encoder.embeddings(ids)
        visible = _keys(text_mask)
        for number in range(self.config.fusion_layer):
            layer = self.text_encoder.layer(number)
            states = layer.transform(layer.attend_to_text(states, visible))
        return states

    def fuse(
        self,
        states: Tensor,
        image: tuple[KeysValues, ...],
        text_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        layers: range | None = None,
    ) -> Tensor:
        """Let texts look at pictures.

        Args:
            states: ``(B, L, hidden_size)`` in front of the first of these layers.
            image: of B pictures, or of one for all texts; see :meth:`image_keys_values`.
            text_mask: ``(B, L)`` bool, False where a row is padded.
            image_mask: ``(B, 1 + patches)`` bool, False where a text must not look; in every fusion layer.
            layers: consecutive fusion layers; all by default.

        Returns:
            ``(B, L, hidden_size)``.
        """
        text_visible, image_visible = _keys(text_mask), _keys(image_mask)
        for number in self.config.fusion_layers if layers is None else layers:
            layer = self.text_encoder.layer(number)
            states = layer.attend_to_text(states, text_visible)
            found = layer.attend_to_picture(states, image[number - self.config.fusion_layer], image_visible)
            states = layer.take_in(states, found)
        return states

    def match_logits(self, fused: Tensor) -> Tensor:
        """Logits ``(B, 2)`` of fused states ``(B, L, hidden_size)``; column 1 is for a match."""
        logits: Tensor = self.itm_head(fused[:, 0])
        return logits

    def forward(
        self, pixels: Tensor, ids: Tensor, text_mask: Tensor | None = None, image_mask: Tensor | None = None
    ) -> Tensor:
        """Match logits ``(B, 2)`` of pairs; arguments as in the three parts."""
        image = self.image_keys_values(self.encode_image(pixels))
        return self.match_logits(self.fuse(self.encode_text(ids, text_mask), image, text_mask, image_mask))

    def glance(
        self,
        states: Tensor,
        image: tuple[KeysValues, ...],
        layer: int,
        text_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> Glance:
        """Match texts with pictures, and see where they looked in one layer.

        Rows do not depend on each other: the gradient of the sum of their match logits is each row's own. Only the
        layers behind the chosen one are differentiated.

        Args:
            states: ``(B, L, hidden_size)`` of :meth:`encode_text`.
            image: see :meth:`fuse`.
            layer: a fusion layer, counted from 0 over the whole BERT.
            text_mask: see :meth:`fuse`.
            image_mask: see :meth:`fuse`.

        Raises:
            ValueError: the layer does not look at the picture.
        """
        config = self.config
        if layer not in config.fusion_layers:
            raise ValueError(f"layer {layer} does not attend to the picture; {config.fusion_layers} do")
        chosen = self.text_encoder.layer(layer)
        keys, values = image[layer - config.fusion_layer]
        with torch.no_grad():
            states = self.fuse(states, image, text_mask, image_mask, range(config.fusion_layer, layer))
            states = chosen.attend_to_text(states, _keys(text_mask))
            attention = chosen.crossattention.self.probabilities(states, keys, _keys(image_mask))
        with torch.enable_grad():
            attention.requires_grad_()
            fused = chosen.take_in(states, chosen.crossattention.self.mix(attention, values))
            fused = self.fuse(fused, image, text_mask, image_mask, range(layer + 1, config.depth))
            logits = self.match_logits(fused)
            (gradient,) = torch.autograd.grad(logits[:, 1].sum(), attention)
        return Glance(logits.detach(), attention.detach(), gradient)


def _keys(mask: Tensor | None) -> Tensor | None:
    """A mask over keys ``(B, K)`` for all heads and queries."""
    return None if mask is None else mask[:, None, None]


def _initialise(module: nn.Module) -> None:
    """Draw weights as BERT does."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)

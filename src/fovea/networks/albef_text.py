"""The text side of ALBEF and BLIP: BERT, whose later layers also attend to the picture.

Own code because the class in transformers ignores the mask over picture tokens, which the refined Grad-CAM lives on,
and because the keys and values of a picture are to be computed once for all texts.

Source: Li et al., "Align before Fuse" (2021), section 3.1; specs/iterprime.md, 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from fovea.networks.albef import AlbefConfig

#: Keys and values of a picture's tokens in one layer, each ``(B, heads, tokens, width of a head)``.
KeysValues = tuple[Tensor, Tensor]


class _Embeddings(nn.Module):
    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_positions, config.hidden_size)
        self.token_type_embeddings = (
            nn.Embedding(config.token_types, config.hidden_size) if config.token_types else None
        )
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.text_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        embedded = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        if self.token_type_embeddings is not None:
            embedded = embedded + self.token_type_embeddings.weight[0]
        found: Tensor = self.LayerNorm(embedded)
        return found


class _Heads(nn.Module):
    """Attention of text tokens to the tokens of a text or of a picture."""

    def __init__(self, config: AlbefConfig, source_width: int) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(source_width, config.hidden_size)
        self.value = nn.Linear(source_width, config.hidden_size)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, source: Tensor) -> KeysValues:
        """Keys and values ``(B, heads, K, d)`` of tokens ``(B, K, source_width)``."""
        return self._split(self.key(source)), self._split(self.value(source))

    def probabilities(self, x: Tensor, keys: Tensor, visible: Tensor | None) -> Tensor:
        """Attention ``(B, heads, L, K)`` of tokens ``(B, L, hidden)``; ``visible`` is boolean, ``(B, 1, 1, K)``."""
        queries = self._split(self.query(x))
        logits = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        if visible is not None:
            logits = logits.masked_fill(~visible, torch.finfo(logits.dtype).min)
        return logits.softmax(dim=-1)

    def mix(self, probabilities: Tensor, values: Tensor) -> Tensor:
        """Values mixed by attention, ``(B, L, hidden)``."""
        return (probabilities @ values).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, keys_values: KeysValues, visible: Tensor | None) -> Tensor:
        """The same as :meth:`mix` of :meth:`probabilities`, which never stand in memory."""
        queries = self._split(self.query(x))
        # One picture serves many texts.
        keys, values = (part.expand(len(x), -1, -1, -1) for part in keys_values)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        return mixed.transpose(1, 2).flatten(2)


class _Output(nn.Module):
    """Projection, shortcut and normalisation behind attention and MLP."""

    def __init__(self, config: AlbefConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.text_norm_eps)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        found: Tensor = self.LayerNorm(self.dense(x) + shortcut)
        return found


class _Attention(nn.Module):
    """Heads and output; a module of its own only to keep the released parameter names."""

    def __init__(self, config: AlbefConfig, source_width: int) -> None:
        super().__init__()
        self.self = _Heads(config, source_width)
        self.output = _Output(config, config.hidden_size)


class _Intermediate(nn.Module):
    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class TextLayer(nn.Module):
    """Post-norm BERT layer: self-attention, attention to the picture where it fuses, MLP.

    Args:
        config: sizes.
        fuses: whether it attends to the picture.
    """

    def __init__(self, config: AlbefConfig, fuses: bool) -> None:
        super().__init__()
        self.attention = _Attention(config, config.hidden_size)
        if fuses:
            self.crossattention = _Attention(config, config.vision_width)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config, config.intermediate_size)

    def attend_to_text(self, x: Tensor, text_visible: Tensor | None) -> Tensor:
        """The first third: ``(B, L, hidden)`` to the same shape; ``text_visible`` is boolean, ``(B, 1, 1, L)``."""
        heads = self.attention.self
        found: Tensor = self.attention.output(heads(x, heads.keys_values(x), text_visible), x)
        return found

    def attend_to_picture(self, x: Tensor, image: KeysValues, visible: Tensor | None) -> Tensor:
        """What a text looks up in a picture, ``(B, L, hidden)``; goes to :meth:`take_in`."""
        found: Tensor = self.crossattention.self(x, image, visible)
        return found

    def take_in(self, x: Tensor, looked_up: Tensor) -> Tensor:
        """The last third: joins a text with what it looked up in the picture."""
        return self.transform(self.crossattention.output(looked_up, x))

    def transform(self, x: Tensor) -> Tensor:
        """The MLP."""
        found: Tensor = self.output(self.intermediate(x), x)
        return found


class _Encoder(nn.Module):
    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(config, number in config.fusion_layers) for number in range(config.depth))


class AlbefText(nn.Module):
    """The text side; parameter names as in the released retrieval model (``text_encoder.*``)."""

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)

    def layer(self, number: int) -> TextLayer:
        """A layer, counted from 0 over the whole BERT."""
        found = self.encoder.layer[number]
        assert isinstance(found, TextLayer)
        return found

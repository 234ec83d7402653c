"""ALBEF and BLIP behind one small class: does a text match a picture, and where did it look?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.backbones.sources import load_key
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.networks.albef import Albef
from fovea.networks.albef_text import KeysValues
from fovea.pictures import Picture

# Texts in one pass through the fusion.
_CHUNK = 32


@dataclass(frozen=True)
class TextFormat:
    """What stands around the word pieces of a text.

    Attributes:
        first: id of the token whose state is matched, in front.
        last: id behind the last piece, or None for none.
    """

    first: int
    last: int | None = None


@dataclass(frozen=True, eq=False)
class PictureStates:
    """All that matching needs of one picture.

    Attributes:
        keys_values: of its tokens in every fusion layer, each ``(1, heads, 1 + patches, width of a head)``.
    """

    keys_values: tuple[KeysValues, ...]


@dataclass(frozen=True, eq=False)
class TextStates:
    """All that matching needs of one text.

    Attributes:
        states: ``(L, hidden)`` of its L tokens, in front of the fusion.
    """

    states: Tensor


@dataclass(frozen=True, eq=False)
class Match:
    """How well one text matches one picture, and where it looked.

    Attributes:
        score: probability of a match, 0..1.
        logit: of a match, not its softmax.
        attention: ``(heads, L, rows, columns)`` float32 probabilities of one fusion layer. They do not sum to 1: the
            picture's class token, which has no place, is left out.
        gradient: ``(heads, L, rows, columns)`` float32, of the match logit with respect to them; of either sign.
    """

    score: float
    logit: float
    attention: Tensor
    gradient: Tensor


class MatchingModel:
    """A frozen ALBEF or BLIP. Safe to share between threads: it keeps no state between calls.

    Args:
        network: the torch module.
        tokenizer: its word pieces.
        text_format: what stands around them.
        name: how results name it.
    """

    def __init__(self, network: Albef, tokenizer: Tokenizer, text_format: TextFormat, name: str) -> None:
        self._network = network.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._format = text_format
        self.name = name
        #: The fusion layer whose attention is read where the caller names none.
        self.layer = network.config.heat_layer
        #: Layers, counted from 0 over the whole BERT, that look at the picture.
        self.layers: range = network.config.fusion_layers
        #: Rows and columns of a heat map.
        self.grid: tuple[int, int] = network.config.grid
        first = next(network.parameters())
        self._device, self._dtype = first.device, first.dtype
        #: Names the model in cache keys; differs between two loads of one name.
        self.key = load_key(name, self._device, self._dtype)

    @property
    def tokenizer(self) -> Tokenizer:
        """Its word pieces."""
        return self._tokenizer

    @property
    def start_token(self) -> str:
        """The token in front of every text, whose state is matched."""
        return str(self._tokenizer.id_to_token(self._format.first))

    def pieces(self, text: str) -> list[str]:
        """The word pieces of a text, without the tokens around them.

        Piece i is token i + 1 of :meth:`embed_texts` and of :attr:`Match.attention`.
        """
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def embed_picture(self, picture: Picture, cache: FeatureCache) -> PictureStates:
        """One pass of the picture tower per picture, kept in the cache.

        The picture is squashed to the model's size, as in training.
        """
        return cache.get_or_compute(("matching-picture", self.key, picture.key), lambda: self._look(picture))

    def embed_texts(self, texts: Sequence[str], cache: FeatureCache) -> list[TextStates]:
        """One pass of the layers in front of the fusion per text, kept in the cache.

        Args:
            texts: whole sentences, templates filled in.
            cache: also of other models.

        Raises:
            ExpressionError: a text is longer than the model can read.
        """
        return cache.get_or_compute_many(
            [("matching-text", self.key, text) for text in texts],
            lambda missing: self._read([texts[position] for position in missing]),
        )

    def match(
        self,
        picture: PictureStates,
        texts: Sequence[TextStates],
        *,
        visible: Tensor | np.ndarray | None = None,
        layer: int | None = None,
    ) -> list[Match]:
        """Match texts with a picture, in batches; a batch changes no result.

        Args:
            picture: of :meth:`embed_picture`.
            texts: of :meth:`embed_texts`; one may come several times, with several masks.
            visible: ``(len(texts), rows, columns)`` bool, False for patches that a text must not look at, in any
                layer. The picture's class token is always seen.
            layer: the fusion layer whose attention is read, one of :attr:`layers`.

        Returns:
            One match per text, in order.
        """
        chosen = self.layer if layer is None else layer
        masks = None if visible is None else torch.as_tensor(visible, dtype=torch.bool).flatten(1)
        found: list[Match] = []
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            hidden = None if masks is None else masks[start : start + _CHUNK]
            found += self._match(picture, part, hidden, chosen)
        return found

    def _match(
        self, picture: PictureStates, texts: Sequence[TextStates], visible: Tensor | None, layer: int
    ) -> list[Match]:
        lengths = [len(text.states) for text in texts]
        with torch.inference_mode(False):
            states = pad_sequence([text.states for text in texts], batch_first=True)
            text_mask = _text_mask(lengths, self._device)
            if visible is not None:
                visible = torch.cat([visible.new_ones(len(texts), 1), visible], dim=1).to(self._device)
            glance = self._network.glance(states, picture.keys_values, layer, text_mask, visible)
        logits = glance.logits.float()
        scores = logits.softmax(1)[:, 1]
        attention, gradient = self._on_grid(glance.attention), self._on_grid(glance.gradient)
        return [
            Match(float(scores[row]), float(logits[row, 1]), attention[row, :, :length], gradient[row, :, :length])
            for row, length in enumerate(lengths)
        ]

    def _on_grid(self, keys: Tensor) -> Tensor:
        """From keys ``(B, heads, L, 1 + patches)`` to places ``(B, heads, L, rows, columns)``."""
        return keys[..., 1:].float().cpu().unflatten(-1, self.grid)

    def _look(self, picture: Picture) -> PictureStates:
        height, width = self._network.config.image_size
        pixels = np.array(picture.image.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
        normalised = (pixels - np.asarray(CLIP_MEAN, np.float32)) / np.asarray(CLIP_STD, np.float32)
        # A gradient will be taken through what is cached here, and tensors made in inference mode never take part in
        # one, whatever mode the caller is in.
        with torch.inference_mode(False), torch.no_grad():
            tensor = torch.from_numpy(normalised).permute(2, 0, 1)[None].to(self._device, self._dtype)
            return PictureStates(self._network.image_keys_values(self._network.encode_image(tensor)))

    def _read(self, texts: Sequence[str]) -> list[TextStates]:
        rows = [self._ids(text) for text in texts]
        found: list[TextStates] = []
        for start in range(0, len(rows), _CHUNK):
            found += self._read_ids(rows[start : start + _CHUNK])
        return found

    def _read_ids(self, rows: Sequence[Sequence[int]]) -> list[TextStates]:
        lengths = [len(row) for row in rows]
        with torch.inference_mode(False), torch.no_grad():
            ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self._device)
            states = self._network.encode_text(ids, _text_mask(lengths, self._device))
            # Cloned, since a slice would keep the whole batch alive while it is in the cache.
            return [TextStates(states[row, :length].clone()) for row, length in enumerate(lengths)]

    def _ids(self, text: str) -> list[int]:
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        ids = [self._format.first, *pieces] + ([] if self._format.last is None else [self._format.last])
        longest = self._network.config.max_positions
        if len(ids) > longest:
            raise ExpressionError(
                f"{self.name} reads at most {longest} tokens and this text is longer: {text[:60]!r}",
                "use a shorter expression",
            )
        return ids


def _text_mask(lengths: Sequence[int], device: torch.device) -> Tensor | None:
    """``(B, longest)`` bool, False where a row is padded; None where none is."""
    if len(set(lengths)) < 2:
        return None
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).to(device)

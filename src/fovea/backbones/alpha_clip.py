"""Alpha-CLIP: a CLIP that is told where to look, by an alpha map beside the picture (specs/alphaclip.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fovea.backbones.clip import ClipEncoder, hugging_face_settings
from fovea.backbones.framing import Framing
from fovea.backbones.sources import not_loaded
from fovea.backbones.vit_tokens import VitTokens
from fovea.errors import CheckpointError
from fovea.marks.alpha import AlphaSource, alpha_map
from fovea.networks.alpha_clip import normalised_alpha
from fovea.networks.alpha_clip_weights import has_trained_alpha, read_alpha_clip
from fovea.pictures import PictureSource, open_picture

# Regions in one forward pass.
_CHUNK = 32

_logger = logging.getLogger(__name__)


class AlphaEncoder(ClipEncoder):
    """A frozen CLIP with an alpha plane. Safe to share between threads: it keeps no state between calls.

    What it is not told where to look at, :meth:`encode_pictures` and the like, is looked at as a whole: an alpha of
    ones.

    Args:
        model: ``CLIPModel`` of transformers with an alpha plane.
        tokenizer: a tokenizer of transformers.
        settings: as :class:`ClipEncoder` takes them.
    """

    def __init__(self, model: Any, tokenizer: Any, **settings: Any) -> None:
        super().__init__(model, tokenizer=tokenizer, **settings)
        #: Whether masks can change anything.
        self.has_trained_alpha = has_trained_alpha(model)

    def encode_regions(self, pictures: np.ndarray, alphas: np.ndarray, *, unit: bool = True) -> np.ndarray:
        """Embed regions of pictures of the model's own size.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = image_size``; or ``(1, S, S, 3)``, of which all are regions.
            alphas: ``(B, S, S)`` float32 in 0..1, 1 where to look.
            unit: whether to bring embeddings to unit length.

        Returns:
            ``(B, D)`` float32.
        """
        return self._embed(self._planes(pictures, alphas), unit)

    def encode_picture(
        self, picture: PictureSource, alpha: AlphaSource = None, framing: Framing | None = None
    ) -> np.ndarray:
        """Embed one picture of any size, for whoever needs the embedding alone.

        Args:
            picture: a path, bytes, a Pillow image or an array.
            alpha: where to look (:func:`fovea.marks.alpha.alpha_map`); None for the whole picture.
            framing: how both become square; squashed by default.

        Returns:
            ``(D,)`` float32 of unit length.

        Raises:
            PictureError: the picture cannot be opened.
            RegionError: the alpha makes no sense in it.
        """
        opened, chosen = open_picture(picture), framing or Framing()
        plane = chosen.alpha(alpha_map(alpha, opened.size), self.image_size)
        colours = (chosen.colours(opened, self.image_size) - self.mean) / self.std
        pixels = np.concatenate([colours, _normalised(plane)[..., None]], axis=-1).transpose(2, 0, 1)
        return np.asarray(self.encode_pixels(np.ascontiguousarray(pixels[None]))[0])

    def attention(self, pictures: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Where the class token looks in the last block.

        Args:
            pictures: as in :meth:`encode_regions`.
            alphas: likewise.

        Returns:
            ``(B, heads, grid, grid)`` float32; a head's shares sum to 1 with that of the class token itself.
        """
        tokens = VitTokens(self._model, self.name)
        with torch.inference_mode():
            seen = [
                tokens.last_attention(torch.from_numpy(chunk).to(self._device, self._dtype))[:, :, 0, 1:]
                for chunk in self._planes(pictures, alphas)
            ]
        return np.asarray(torch.cat(seen).unflatten(-1, (tokens.grid, tokens.grid)).cpu().numpy())

    @property
    def model(self) -> nn.Module:
        """The CLIP of transformers, for whoever builds upon its picture tower."""
        return self._model

    def _planes(self, pictures: np.ndarray, alphas: np.ndarray) -> Iterator[np.ndarray]:
        """Chunks of ``(B, 4, S, S)`` float32, normalised; a picture that all regions share is normalised once."""
        shared = self._normalised(pictures) if len(pictures) == 1 else None
        for start in range(0, len(alphas), _CHUNK):
            some = _normalised(alphas[start : start + _CHUNK])[:, None]
            pixels = self._normalised(pictures[start : start + _CHUNK]) if shared is None else shared
            yield np.concatenate([np.broadcast_to(pixels, (len(some), *pixels.shape[1:])), some], axis=1)


def _normalised(alphas: np.ndarray) -> np.ndarray:
    plane: Tensor = normalised_alpha(torch.from_numpy(np.ascontiguousarray(alphas, np.float32)))
    return np.asarray(plane.numpy())


def load_alpha_clip(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> AlphaEncoder:
    """Load a CLIP with an alpha plane.

    Args:
        source: a directory or a hub name, in the layout that ``fovea convert`` writes. A plain CLIP is loaded with an
            alpha plane that was never trained, and a warning.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is no such model.
    """
    try:
        # As with every model of transformers: importing it takes longer than a small model does to answer.
        from transformers import AutoTokenizer

        model = read_alpha_clip(local_directory(source))
        encoder = AlphaEncoder(
            model.to(device, dtype), AutoTokenizer.from_pretrained(source), **hugging_face_settings(source, model)
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error
    if not encoder.has_trained_alpha:
        _logger.warning("%s has no trained alpha plane: it ignores all masks", encoder.name)
    return encoder


def local_directory(source: str) -> Path:
    """The directory of a model, which is downloaded if its name is one of the hub's."""
    if Path(source).exists():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, allow_patterns=["*.json", "model*.safetensors", "merges.txt"]))

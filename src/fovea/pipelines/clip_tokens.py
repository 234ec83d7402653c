"""All tokens of a CLIP's last block over a whole picture (specs/regionspot.md, 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fovea.backbones.clip import ClipEncoder
from fovea.errors import CheckpointError
from fovea.pictures import Picture


# MERGE: ``ClipPlaces(encoder, size).of(picture, cache)`` of backbones/region_spot.py takes its place.
class ClipTokens:
    """Asks a CLIP for its tokens.

    Args:
        encoder: with a vision transformer of Hugging Face's CLIP.
        size: side of its square input in pixels; 0 for its own. Positions are resized bicubically for another.

    Raises:
        CheckpointError: the picture tower is built otherwise.
    """

    def __init__(self, encoder: ClipEncoder, size: int = 0) -> None:
        model: Any = encoder._model
        if not hasattr(getattr(model, "vision_model", None), "pre_layrnorm"):
            raise CheckpointError(f"{encoder.name} has no vision transformer of CLIP's kind", "name a CLIP ViT")
        self._encoder, self._tower, self.size = encoder, model.vision_model, size or encoder.image_size

    def of(self, picture: Picture) -> Tensor:
        """``(1, S, width)``: the class token first, no final norm; the picture is squashed to the square."""
        square = picture.image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = self._encoder.tensor(np.asarray(square)[None])
        with torch.inference_mode():
            found: Tensor = self._tower(pixels, interpolate_pos_encoding=True).last_hidden_state
        return found


def own_size(source: str) -> int:
    """Side of the square input of a CLIP ViT in pixels, without loading its weights.

    Raises:
        CheckpointError: it is no such model.
    """
    from transformers import AutoConfig

    try:
        return int(AutoConfig.from_pretrained(source).vision_config.image_size)
    except Exception as error:
        # transformers and the hub client fail in a hundred ways; users need one line.
        raise CheckpointError(f"{source} is no CLIP with a vision transformer", "name one with --models") from error

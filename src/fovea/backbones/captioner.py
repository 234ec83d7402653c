"""Pictures in, captions out: BLIP-2 behind one small class."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
import torch

from fovea.backbones.sources import check_complete, load_key, not_loaded
from fovea.errors import CheckpointError

#: Mean and deviation that BLIP-2 was trained with, on the scale 0..1: CLIP's.
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

# Most new tokens of a caption: those of a short sentence, as every CLIP can read it.
_LENGTH = 20

# Pictures in one pass; captioners are large.
_CHUNK = 8


class Captioner(Protocol):
    """Says what pictures show."""

    @property
    def key(self) -> Hashable:
        """Names the captioner in cache keys."""
        ...

    @property
    def image_size(self) -> int:
        """Side of its square input in pixels."""
        ...

    def caption(self, pictures: np.ndarray, prompt: str = "") -> list[str]:
        """One caption each.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = image_size``.
            prompt: what the text begins with; it is no part of the captions.
        """
        ...


class Blip2Captioner:
    """A frozen ``Blip2ForConditionalGeneration``, decoded greedily.

    Args:
        model: of transformers.
        tokenizer: of its language model.
        name: how cache keys name it.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.image_size = int(self._model.config.vision_config.image_size)
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        self.key = load_key(name, self._device, self._dtype)

    def caption(self, pictures: np.ndarray, prompt: str = "") -> list[str]:
        """See :class:`Captioner`."""
        captions: list[str] = []
        begun = self._begun(prompt)
        for start in range(0, len(pictures), _CHUNK):
            scaled = pictures[start : start + _CHUNK].astype(np.float32) / 255
            planes = ((scaled - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32)).transpose(0, 3, 1, 2)
            pixels = torch.from_numpy(np.ascontiguousarray(planes)).to(self._device, self._dtype)
            with torch.inference_mode():
                tokens = self._model.generate(
                    pixels, input_ids=begun.expand(len(pixels), -1), max_new_tokens=_LENGTH, do_sample=False
                )
            if not self._model.language_model.config.is_encoder_decoder:
                # The picture's tokens and those that the text begins with come back in front.
                tokens = tokens[:, begun.shape[1] :]
            captions += [" ".join(text.split()) for text in self._tokenizer.batch_decode(tokens, True)]
        return captions

    def _begun(self, prompt: str) -> torch.Tensor:
        """Ids ``(1, L)`` of the picture's tokens and of a text's beginning."""
        config = self._model.config
        text = self._tokenizer(prompt)["input_ids"] if prompt else [config.text_config.bos_token_id]
        ids = [config.image_token_index] * config.num_query_tokens + list(text)
        return torch.tensor([ids], device=self._device)


def load_captioner(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Blip2Captioner:
    """Load a BLIP-2.

    Args:
        source: a directory or a hub name, such as ``Salesforce/blip2-opt-2.7b``.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is no BLIP-2.
    """
    try:
        from transformers import AutoConfig, AutoTokenizer, Blip2ForConditionalGeneration

        config = AutoConfig.from_pretrained(source)
        if config.model_type != "blip-2":
            raise CheckpointError(f"{source} is a {config.model_type} model and writes no captions", "name a BLIP-2")
        model, report = Blip2ForConditionalGeneration.from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        check_complete(source, report["missing_keys"], report["unexpected_keys"])
        return Blip2Captioner(model.to(device), AutoTokenizer.from_pretrained(source), source)
    except CheckpointError:
        raise
    except Exception as error:
        # As with every model of transformers: users need one line.
        raise not_loaded(source, error) from error

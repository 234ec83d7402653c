"""Pictures in, captions out: BLIP-2 and LLaVA, each behind one small class."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fovea.backbones.alpha_tower import join_tower
from fovea.backbones.sources import check_complete, load_key, not_loaded
from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import AlphaPatchEmbedding, normalised_alpha
from fovea.networks.pixels import CLIP_MEAN, CLIP_STD

# Most new tokens of a caption: those of a short sentence, as every CLIP can read it.
_LENGTH = 20

# What a LLaVA is asked.
_QUESTION = "What is this? Answer in one short sentence."

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


class AlphaCaptioner(Captioner, Protocol):
    """Says what pictures show, and what regions of them, where its picture tower takes an alpha plane."""

    @property
    def has_alpha(self) -> bool:
        """Whether it does."""
        ...

    @property
    def padded(self) -> bool:
        """Whether pictures are brought to its square by a margin; they are squashed otherwise."""
        ...

    def describe(self, pictures: np.ndarray, alphas: np.ndarray) -> list[str]:
        """One description each, of what alpha marks.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = image_size``.
            alphas: ``(B, S, S)`` float32: 1 is looked at, 0 is background, 0.5 leaves the tower as it was.

        Raises:
            CheckpointError: its picture tower takes no alpha plane.
        """
        ...

    def take_tower(self, source: nn.Module) -> None:
        """Look through the picture tower of a CLIP with an alpha plane from now on.

        Raises:
            CheckpointError: it has no such plane, or is not the captioner's own CLIP.
        """
        ...


class _Captioner:
    """What captioners of transformers share: decoded greedily, some pictures at a time.

    Args:
        model: of transformers; its picture tower may have an alpha plane (``networks.alpha_clip``).
        tokenizer: of its language model.
        name: how cache keys and errors name it.
    """

    padded = False

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer, self._name = tokenizer, name
        self.image_size = int(self._model.config.vision_config.image_size)
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        self.key = load_key(name, self._device, self._dtype)

    @property
    def has_alpha(self) -> bool:
        """See :class:`AlphaCaptioner`."""
        return any(isinstance(module, AlphaPatchEmbedding) for module in self._model.modules())

    def caption(self, pictures: np.ndarray, prompt: str = "") -> list[str]:
        """See :class:`Captioner`."""
        return self._say(pictures, None, prompt)

    def describe(self, pictures: np.ndarray, alphas: np.ndarray) -> list[str]:
        """See :class:`AlphaCaptioner`."""
        if not self.has_alpha:
            raise CheckpointError(
                f"the picture tower of {self._name} takes no alpha plane", "let it take that of an Alpha-CLIP"
            )
        return self._say(pictures, alphas, "")

    def take_tower(self, source: nn.Module) -> None:
        """Look through the picture tower of an Alpha-CLIP from now on (:func:`fovea.backbones.alpha_tower.join_tower`).

        Raises:
            CheckpointError: it has no alpha plane, or does not fit.
        """
        join_tower(self._model, source)
        # What was kept of the old tower is not that of the new one.
        self.key = load_key(self._name, self._device, self._dtype)

    def _say(self, pictures: np.ndarray, alphas: np.ndarray | None, prompt: str) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(pictures), _CHUNK):
            some = slice(start, start + _CHUNK)
            pixels = self._planes(pictures[some], None if alphas is None else alphas[some])
            with torch.inference_mode():
                tokens = self._generate(pixels, prompt)
            texts += [" ".join(text.split()) for text in self._tokenizer.batch_decode(tokens, True)]
        return texts

    def _planes(self, pictures: np.ndarray, alphas: np.ndarray | None) -> Tensor:
        """``(B, 3, S, S)``, or with alpha ``(B, 4, S, S)``, normalised."""
        scaled = pictures.astype(np.float32) / 255
        planes = ((scaled - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)).transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(np.ascontiguousarray(planes))
        if alphas is not None:
            alpha = torch.from_numpy(np.ascontiguousarray(alphas, np.float32))
            pixels = torch.cat([pixels, normalised_alpha(alpha)[:, None]], dim=1)
        return pixels.to(self._device, self._dtype)

    def _generate(self, pixels: Tensor, prompt: str) -> Tensor:
        """New tokens only, behind a text that begins with a prompt."""
        raise NotImplementedError


class Blip2Captioner(_Captioner):
    """A frozen ``Blip2ForConditionalGeneration``."""

    def _generate(self, pixels: Tensor, prompt: str) -> Tensor:
        begun = self._begun(prompt).expand(len(pixels), -1)
        tokens: Tensor = self._model.generate(pixels, input_ids=begun, max_new_tokens=_LENGTH, do_sample=False)
        if self._model.language_model.config.is_encoder_decoder:
            return tokens
        # The picture's tokens and those that the text begins with come back in front.
        return tokens[:, begun.shape[1] :]

    def _begun(self, prompt: str) -> Tensor:
        """Ids ``(1, L)`` of the picture's tokens and of a text's beginning."""
        config = self._model.config
        text = self._tokenizer(prompt)["input_ids"] if prompt else [config.text_config.bos_token_id]
        ids = [config.image_token_index] * config.num_query_tokens + list(text)
        return torch.tensor([ids], device=self._device)


class LlavaCaptioner(_Captioner):
    """A frozen ``LlavaForConditionalGeneration`` with a CLIP as its picture tower.

    Args:
        model: of transformers.
        tokenizer: of its language model; knows the token that stands for pictures.
        name: how cache keys and errors name it.
        question: what it is asked of every picture.

    Raises:
        CheckpointError: the tower is no CLIP, or the tokenizer does not know the token.
    """

    padded = True

    def __init__(self, model: Any, tokenizer: Any, name: str, question: str = _QUESTION) -> None:
        super().__init__(model, tokenizer, name)
        config = model.config
        if config.vision_config.model_type != "clip_vision_model":
            raise CheckpointError(f"the picture tower of {name} is no CLIP", "name a LLaVA such as llava-1.5")
        places = (self.image_size // config.vision_config.patch_size) ** 2
        places += config.vision_feature_select_strategy == "full"
        token = tokenizer.convert_ids_to_tokens(config.image_token_id)
        ids = tokenizer(f"USER: {token}\n{question} ASSISTANT:", add_special_tokens=False)["input_ids"]
        if ids.count(config.image_token_id) != 1:
            raise CheckpointError(f"the tokenizer of {name} does not know its own picture token", "is it complete?")
        place = ids.index(config.image_token_id)
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        # Each place of the picture stands for itself, where the text names the picture once.
        self._prompt = [*start, *ids[:place], *[config.image_token_id] * places, *ids[place + 1 :]]

    def _generate(self, pixels: Tensor, prompt: str) -> Tensor:
        begun = self._tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        ids = torch.tensor([[*self._prompt, *begun]] * len(pixels), device=self._device)
        tokens: Tensor = self._model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, max_new_tokens=_LENGTH,
            do_sample=False,
        )  # fmt: skip
        return tokens[:, ids.shape[1] :]


def load_captioner(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> AlphaCaptioner:
    """Load a BLIP-2 or a LLaVA.

    Args:
        source: a directory or a hub name, such as ``Salesforce/blip2-opt-2.7b`` or ``llava-hf/llava-1.5-7b-hf``.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is neither.
    """
    try:
        from transformers import (
            AutoConfig,
            AutoTokenizer,
            Blip2ForConditionalGeneration,
            LlavaForConditionalGeneration,
        )

        kinds: dict[str, tuple[Any, type[_Captioner]]] = {
            "blip-2": (Blip2ForConditionalGeneration, Blip2Captioner),
            "llava": (LlavaForConditionalGeneration, LlavaCaptioner),
        }
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in kinds:
            raise CheckpointError(
                f"{source} is a {config.model_type} model and writes no captions", "name a BLIP-2 or a LLaVA"
            )
        architecture, captioner = kinds[config.model_type]
        model, report = architecture.from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        check_complete(source, report["missing_keys"], report["unexpected_keys"])
        return captioner(model.to(device), AutoTokenizer.from_pretrained(source), source)
    except CheckpointError:
        raise
    except Exception as error:
        # As with every model of transformers: users need one line.
        raise not_loaded(source, error) from error

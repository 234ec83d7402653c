"""Any CLIP-like model behind one small class: pictures and texts in, unit vectors out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fovea.backbones.clip_resnet import ResnetFiles, find_resnet, load_clip_resnet, load_tokenizer, pixel_statistics
from fovea.backbones.inner import InnerTokens
from fovea.backbones.resnet_tokens import ResnetTokens
from fovea.backbones.sources import check_complete, load_key, not_loaded
from fovea.backbones.vit_tokens import VitTokens
from fovea.backbones.vocabulary import unknown_words
from fovea.errors import CheckpointError, ExpressionError
from fovea.networks.clip_resnet import ClipResnet
from fovea.networks.pixels import CLIP_MEAN as CLIP_MEAN
from fovea.networks.pixels import CLIP_STD as CLIP_STD

# Pictures and texts in one forward pass: enough to keep a machine busy, little enough for its memory.
_CHUNK = 32
_TEXTS = 256

_logger = logging.getLogger(__name__)


class _Towers(Protocol):
    """What the encoder needs of a model: raw embeddings of pixels and of token ids."""

    def pictures(self, pixels: Tensor) -> Tensor: ...

    def texts(self, tokens: dict[str, Tensor]) -> Tensor: ...

    def inner(self, name: str) -> InnerTokens: ...


class _ResnetTowers:
    """Our modified ResNet."""

    def __init__(self, model: ClipResnet) -> None:
        self.model = model

    def pictures(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)

    def texts(self, tokens: dict[str, Tensor]) -> Tensor:
        return self.model.encode_text(tokens["input_ids"])

    def inner(self, name: str) -> InnerTokens:
        return ResnetTokens(self.model)


class _HuggingFaceTowers:
    """CLIP, SigLIP, MetaCLIP and every other dual encoder of transformers."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def pictures(self, pixels: Tensor) -> Tensor:
        return _embedding(self.model.get_image_features(pixel_values=pixels))

    def texts(self, tokens: dict[str, Tensor]) -> Tensor:
        return _embedding(self.model.get_text_features(**tokens))

    def inner(self, name: str) -> InnerTokens:
        return VitTokens(self.model, name)


def _embedding(output: Any) -> Tensor:
    """Transformers 5 wraps embeddings in an object; some models return the tensor."""
    tensor: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return tensor


class ClipEncoder:
    """A frozen CLIP. Safe to share between threads: it keeps no state between calls.

    Args:
        model: the torch module, for its device and type.
        towers: how its embeddings are had.
        tokenizer: a tokenizer of transformers.
        name: how results name it.
        image_size: side of its square input in pixels.
        logit_scale: temperature that multiplies cosines, as trained.
        mean: of its pixels, on the scale 0..1.
        std: deviation likewise.
        context_length: most tokens that its text tower reads; the tokenizer may state fewer.
        pads_texts: whether texts are padded to the full length, as SigLIP was trained; for the others padding behind
            the end token changes nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        towers: _Towers,
        tokenizer: Any,
        *,
        name: str,
        image_size: int,
        logit_scale: float,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        context_length: int = 10_000,
        pads_texts: bool = False,
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self._towers = towers
        self._tokenizer = tokenizer
        self.name = name
        self.image_size = image_size
        self.logit_scale = logit_scale
        self.mean = np.asarray(mean, np.float32)
        self.std = np.asarray(std, np.float32)
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        self._padding = "max_length" if pads_texts else "longest"
        # A tokenizer that states no length says 1e30.
        self.context_length = min(int(tokenizer.model_max_length), context_length)
        #: Names the encoder in cache keys; differs between two loads of one name.
        self.key = load_key(name, self._device, self._dtype)

    def encode_pictures(self, pictures: np.ndarray, *, unit: bool = True) -> np.ndarray:
        """Embed pictures of the model's own size.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = image_size``.
            unit: whether to bring embeddings to unit length; without, they can be mixed as the model weighs them.

        Returns:
            ``(B, D)`` float32.
        """
        return self._embed(map(self._normalised, _chunks(pictures)), unit)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and of the arithmetic."""
        return self._dtype

    def tensor(self, pictures: np.ndarray) -> Tensor:
        """Pictures ``(B, S, S, 3)``, 0..255, as the tower takes them: ``(B, 3, S, S)``, on its device, in its type."""
        return torch.from_numpy(self._normalised(pictures)).to(self._device, self._dtype)

    def inner_tokens(self) -> InnerTokens:
        """The inside of the picture tower.

        Raises:
            CheckpointError: the tower does not allow it.
        """
        return self._towers.inner(self.name)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Embed pixels that are already normalised.

        Args:
            pixels: ``(B, 3, S, S)`` float32.

        Returns:
            ``(B, D)`` float32 of unit length.
        """
        return self._embed(_chunks(pixels))

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> np.ndarray:
        """Embed texts.

        Args:
            texts: whole sentences, templates filled in.
            unit: whether to bring embeddings to unit length; without, they can be averaged as the model weighs them.

        Returns:
            ``(T, D)`` float32.

        Raises:
            ExpressionError: a text is longer than the model can read.
        """
        # All are read before the first is embedded: a text that is too long should be refused at once.
        tokens = [self._tokens(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        with torch.inference_mode():
            return _joined([self._towers.texts(chunk) for chunk in tokens], unit)

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model has no token for; always empty for models with subword vocabularies."""
        return unknown_words(self._tokenizer, text)

    def shortened(self, text: str) -> str:
        """The longest beginning of a text, in whole words, that the model can read: for texts that no user wrote."""
        words = text.split()
        while len(words) > 1 and len(self._tokenizer(" ".join(words))["input_ids"]) > self.context_length:
            words.pop()
        return " ".join(words)

    def _tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids of one chunk, padded to one length."""
        rows = self._tokenizer(list(texts), padding=self._padding, max_length=self.context_length)
        if max(map(len, rows["input_ids"])) > self.context_length:
            longest = max(texts, key=lambda text: len(self._tokenizer(text)["input_ids"]))
            raise ExpressionError(
                f"{self.name} reads at most {self.context_length} tokens and this text is longer: {longest[:60]!r}",
                "use a shorter expression",
            )
        return {key: torch.tensor(rows[key]).to(self._device) for key in ("input_ids", "attention_mask") if key in rows}

    def _normalised(self, pictures: np.ndarray) -> np.ndarray:
        # One plane per colour before the arithmetic, which is several times slower on colours side by side.
        planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)
        planes /= 255 * self.std[:, None, None]
        planes -= (self.mean / self.std)[:, None, None]
        return planes

    def _embed(self, chunks: Iterable[np.ndarray], unit: bool = True) -> np.ndarray:
        with torch.inference_mode():
            pixels = (torch.from_numpy(chunk).to(self._device, self._dtype) for chunk in chunks)
            return _joined([self._towers.pictures(one) for one in pixels], unit)


def _chunks(pictures: np.ndarray) -> Iterator[np.ndarray]:
    return (pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK))


def _joined(embedded: Sequence[Tensor], unit: bool = True) -> np.ndarray:
    if not embedded:
        return np.zeros((0, 0), np.float32)
    joined = torch.cat(list(embedded)).float()
    return np.asarray((nn.functional.normalize(joined, dim=-1) if unit else joined).cpu().numpy())


def load_clip(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> ClipEncoder:
    """Load a CLIP.

    Args:
        source: a directory or a hub name: any dual encoder of transformers, or a CLIP-ResNet in one of the layouts of
            :mod:`fovea.backbones.clip_resnet`.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is no CLIP.
    """
    try:
        resnet = find_resnet(source)
        return _load_hugging_face(source, device, dtype) if resnet is None else _load_resnet(resnet, device, dtype)
    except CheckpointError:
        raise
    except Exception as error:
        # transformers, safetensors and the hub client fail in a hundred ways; users need one line.
        raise not_loaded(source, error) from error


def _load_resnet(files: ResnetFiles, device: str, dtype: torch.dtype) -> ClipEncoder:
    # Convolutions take half the time on colours and channels side by side.
    model = load_clip_resnet(files).to(device, dtype)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ClipEncoder(
        model,
        _ResnetTowers(model),
        load_tokenizer(files),
        name=files.name,
        image_size=model.config.image_size,
        logit_scale=float(model.logit_scale.detach().float().exp()),
        context_length=model.config.context_length,
        **pixel_statistics(files),
    )


def _load_hugging_face(source: str, device: str, dtype: torch.dtype) -> ClipEncoder:
    # Importing model classes of transformers takes longer than answering a question with the minis.
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(source)
    if not hasattr(config, "vision_config") or not hasattr(config, "text_config"):
        raise CheckpointError(f"{source} is a {config.model_type} model, not a CLIP", "name a CLIP, SigLIP or MetaCLIP")
    model, report = AutoModel.from_pretrained(
        source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    check_complete(source, report["missing_keys"], report["unexpected_keys"])
    model.to(device)
    return ClipEncoder(model, tokenizer=AutoTokenizer.from_pretrained(source), **hugging_face_settings(source, model))


def hugging_face_settings(source: str, model: Any) -> dict[str, Any]:
    """What a :class:`ClipEncoder` is told of a model of transformers: its towers, and what goes with them.

    Args:
        source: the directory or hub name that it was loaded from.
        model: a dual encoder.
    """
    config = model.config
    mean, std = hub_pixel_statistics(source)
    return {
        "towers": _HuggingFaceTowers(model),
        "name": Path(source).name if Path(source).is_dir() else source,
        "image_size": int(config.vision_config.image_size),
        "logit_scale": float(model.logit_scale.detach().float().exp()),
        "mean": mean,
        "std": std,
        "context_length": getattr(config.text_config, "max_position_embeddings", 10_000),
        "pads_texts": config.model_type.startswith("siglip"),
    }


def hub_pixel_statistics(source: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation from the preprocessor's configuration, read as plain data: no processor class is needed."""
    # Transformers 5 writes the second, with the preprocessor inside.
    settings = _settings(source, "preprocessor_config.json")
    settings = settings or _settings(source, "processor_config.json").get("image_processor", {})
    if not settings:
        _logger.warning("%s does not say how pixels are normalised: CLIP's mean and deviation are used", source)
    return settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD)


def _settings(source: str, name: str) -> dict[str, Any]:
    """A configuration file of a model; empty where there is none."""
    from transformers.utils import cached_file

    try:
        return dict(json.loads(Path(str(cached_file(source, name))).read_text(encoding="utf-8")))
    except OSError:
        return {}

"""Any CLIP-like model behind one small class: pictures and texts in, unit vectors out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from fovea.backbones.sources import check_complete, not_found
from fovea.errors import CheckpointError
from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig

#: Mean and deviation of CLIP's pixels on the scale 0..1, where a model states none of its own.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Pictures in one forward pass: enough to keep a machine busy, little enough for its memory.
_CHUNK = 32


class _Towers(Protocol):
    """What the encoder needs of a model: raw embeddings of pixels and of token ids."""

    def pictures(self, pixels: Tensor) -> Tensor: ...

    def texts(self, tokens: dict[str, Tensor]) -> Tensor: ...


class _ResnetTowers:
    """Our modified ResNet."""

    def __init__(self, model: ClipResnet) -> None:
        self.model = model

    def pictures(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)

    def texts(self, tokens: dict[str, Tensor]) -> Tensor:
        return self.model.encode_text(tokens["input_ids"])


class _HuggingFaceTowers:
    """CLIP, SigLIP, MetaCLIP and every other dual encoder of transformers."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def pictures(self, pixels: Tensor) -> Tensor:
        return _embedding(self.model.get_image_features(pixel_values=pixels))

    def texts(self, tokens: dict[str, Tensor]) -> Tensor:
        return _embedding(self.model.get_text_features(**tokens))


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
        self.context_length = min(int(tokenizer.model_max_length), 10_000)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Names the encoder in cache keys; differs between two loads of one name."""
        return (self.name, str(self._device), str(self._dtype), id(self._model))

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        """Embed pictures of the model's own size.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = image_size``.

        Returns:
            ``(B, D)`` float32 of unit length.
        """
        scaled = (pictures.astype(np.float32) / 255 - self.mean) / self.std
        return self.encode_pixels(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Embed pixels that are already normalised.

        Args:
            pixels: ``(B, 3, S, S)`` float32.

        Returns:
            ``(B, D)`` float32 of unit length.
        """
        chunks = [pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK)]
        with torch.inference_mode():
            embedded = [self._towers.pictures(self._tensor(chunk)) for chunk in chunks]
        return _unit(embedded)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Args:
            texts: whole sentences, templates filled in.

        Returns:
            ``(T, D)`` float32 of unit length.

        Raises:
            CheckpointError: a text is longer than the model can read.
        """
        if not texts:
            return _unit([])
        tokens = self._tokenizer(
            list(texts), padding=self._padding, max_length=self.context_length, return_tensors="pt"
        )
        if tokens["input_ids"].shape[1] > self.context_length:
            longest = max(texts, key=len)
            raise CheckpointError(
                f"{self.name} reads at most {self.context_length} tokens and this text is longer: {longest[:60]!r}",
                "use a shorter expression",
            )
        kept = {key: tokens[key].to(self._device) for key in ("input_ids", "attention_mask") if key in tokens}
        with torch.inference_mode():
            return _unit([self._towers.texts(kept)])

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model has no token for; always empty for models with subword vocabularies."""
        unknown = self._tokenizer.unk_token_id
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if unknown is None or backend is None or unknown == self._tokenizer.eos_token_id:
            return []
        encoding = backend.encode(text)
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        return [text[start:end] for id_, (start, end) in spans if id_ == unknown]

    def _tensor(self, pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels).to(self._device, self._dtype)


def _unit(embedded: Sequence[Tensor]) -> np.ndarray:
    if not embedded:
        return np.zeros((0, 0), np.float32)
    joined = torch.cat(list(embedded)).float()
    return np.asarray(nn.functional.normalize(joined, dim=-1).cpu().numpy())


def load_clip(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> ClipEncoder:
    """Load a CLIP.

    Args:
        source: a directory or a hub name: any dual encoder of transformers, or a CLIP-ResNet directory.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is no CLIP.
    """
    config = Path(source) / "config.json"
    try:
        if config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") == "clip_resnet":
            return _load_resnet(Path(source), device, dtype)
        return _load_hugging_face(source, device, dtype)
    except CheckpointError:
        raise
    except Exception as error:
        # transformers, safetensors and the hub client fail in a hundred ways; users need one line.
        raise not_found(source, error) from error


def load_clip_resnet(directory: Path) -> ClipResnet:
    """Read a CLIP-ResNet directory: ``config.json`` and ``model.safetensors``, in float32."""
    settings = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    settings.pop("model_type")
    model = ClipResnet(ClipResnetConfig(**{**settings, "layers": tuple(settings["layers"])}))
    model.load_state_dict({key: value.float() for key, value in load_file(directory / "model.safetensors").items()})
    return model


def _load_resnet(directory: Path, device: str, dtype: torch.dtype) -> ClipEncoder:
    model = load_clip_resnet(directory).to(device, dtype)
    return ClipEncoder(
        model,
        _ResnetTowers(model),
        PreTrainedTokenizerFast.from_pretrained(directory),
        name=directory.name,
        image_size=model.config.image_size,
        logit_scale=float(model.logit_scale.detach().float().exp()),
    )


def _load_hugging_face(source: str, device: str, dtype: torch.dtype) -> ClipEncoder:
    config = AutoConfig.from_pretrained(source)
    vision = getattr(config, "vision_config", None)
    if vision is None or not hasattr(config, "text_config"):
        raise CheckpointError(f"{source} is a {config.model_type} model, not a CLIP", "name a CLIP, SigLIP or MetaCLIP")
    model, report = AutoModel.from_pretrained(
        source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    check_complete(source, report["missing_keys"])
    model.to(device)
    mean, std = _pixel_statistics(source)
    return ClipEncoder(
        model,
        _HuggingFaceTowers(model),
        AutoTokenizer.from_pretrained(source),
        name=Path(source).name if Path(source).is_dir() else source,
        image_size=int(vision.image_size),
        logit_scale=float(model.logit_scale.detach().float().exp()),
        mean=mean,
        std=std,
        pads_texts=config.model_type.startswith("siglip"),
    )


def _pixel_statistics(source: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation from the preprocessor's configuration, read as plain data: no processor class is needed."""
    from transformers.utils import cached_file

    try:
        path = cached_file(source, "preprocessor_config.json")
        settings = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    return settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD)

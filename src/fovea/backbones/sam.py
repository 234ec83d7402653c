"""Any SAM in Hugging Face's layout behind one small class: one encoder pass per picture, prompts decoded in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fovea.backbones.sources import check_complete, load_key, not_loaded, read_model
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.networks.sam import Sam, TokenKind
from fovea.networks.sam_config import SamNetworkConfig
from fovea.pictures import Picture

#: Mean and deviation of ImageNet's pixels on the scale 0..255, as SAM was trained with.
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)

#: Which of SAM's masks to take. ``single`` asks for the one made for clear prompts; the others ask for three and take
#: the first, the last, or the one that SAM itself thinks best.
MaskChoice = Literal["single", "first", "last", "best_iou"]

# Prompts decoded in one pass.
_CHUNK = 64

# Most pixels of logits that are brought to the picture's size at once: 16 MiB of float32, about what caches hold.
_PIXELS = 2**22


@dataclass(frozen=True, eq=False)
class MaskLogits:
    """What SAM's decoder says about some prompts.

    Attributes:
        low_res: ``(P, M, h, w)`` float32 logits on the decoder's grid, which covers the padded square.
        iou: ``(P, M)`` float32, SAM's own estimate of each mask's IoU.
        tokens: ``(P, M, C)`` float32, the decoder's token of each mask: what and where the thing is.
    """

    low_res: Tensor
    iou: Tensor
    tokens: Tensor


def frame_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Width and height of a picture in SAM's frame, whose longer side is ``longest``."""
    width, height = size
    scale = longest / max(width, height)
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def upsample(low_res: Tensor, size: tuple[int, int], longest: int) -> Tensor:
    """Decoder logits in SAM's frame, without its padding.

    Args:
        low_res: ``(P, M, h, w)`` float32.
        size: width and height of the picture.
        longest: side of SAM's square input.

    Returns:
        ``(P, M, frame height, frame width)`` float32.
    """
    width, height = frame_size(size, longest)
    frame = F.interpolate(low_res, (longest, longest), mode="bilinear", align_corners=False)
    return frame[..., :height, :width]


def picture_logits(low_res: Tensor, size: tuple[int, int], longest: int) -> Iterator[Tensor]:
    """Decoder logits at the picture's size; a mask is where they are greater than 0.

    They come in slices of a bounded number of pixels, so that many masks of a large picture never stand in memory
    together.

    Args:
        low_res: ``(P, h, w)`` float32, one mask per prompt.
        size: width and height of the picture.
        longest: side of SAM's square input.

    Yields:
        ``(p, height, width)`` float32, in order; together P.
    """
    width, height = size
    for part in low_res.split(max(1, _PIXELS // max(width * height, longest * longest))):
        logits = upsample(part[:, None], size, longest)
        if logits.shape[-2:] != (height, width):
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        yield logits[:, 0]


class SamSegmenter:
    """A frozen SAM. Safe to share between threads: it keeps no state between calls.

    Args:
        model: the network; its picture encoder may be of any type, the rest is float32.
        name: how results name it.
    """

    def __init__(self, model: Sam, name: str) -> None:
        self._model = model.eval().requires_grad_(False)
        self.name = name
        self.image_size: int = model.config.image_size
        first = next(model.vision_encoder.parameters())
        self._device, self._dtype = first.device, first.dtype
        #: Names the segmenter in cache keys; differs between two loads of one name.
        self.key = load_key(name, self._device, self._dtype)

    def token_width(self, kind: TokenKind = "transformer") -> int:
        """Numbers in a token of a prompt, by where it is taken."""
        return self._model.token_width(kind)

    def embed(self, picture: Picture, cache: FeatureCache) -> Tensor:
        """The picture's embedding ``(1, C, g, g)``: one encoder pass per picture, kept in the cache."""
        return cache.get_or_compute(("sam-embedding", self.key, picture.key), lambda: self._encode(picture))

    def _encode(self, picture: Picture) -> Tensor:
        size = frame_size(picture.size, self.image_size)
        pixels = torch.from_numpy(np.array(picture.image.resize(size, Image.Resampling.BILINEAR), np.float32))
        pixels = (pixels - torch.tensor(SAM_MEAN)) / torch.tensor(SAM_STD)
        padded = F.pad(pixels.permute(2, 0, 1), (0, self.image_size - size[0], 0, self.image_size - size[1]))
        with torch.inference_mode():
            embedding: Tensor = self._model.vision_encoder(padded[None].to(self._device, self._dtype))
        return embedding

    def decode(
        self,
        embedding: Tensor,
        size: tuple[int, int],
        *,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
        multimask: bool = False,
        chunk: int = _CHUNK,
    ) -> Iterator[MaskLogits]:
        """Decode prompts in batches; either boxes or points.

        Args:
            embedding: of the picture, see :meth:`embed`.
            size: width and height of the picture.
            boxes: ``(P, 4)`` float32 xyxy pixels of the picture.
            points: ``(P, 2)`` float32 xy pixels of the picture, each a prompt of its own.
            multimask: three masks per prompt instead of one.
            chunk: prompts per batch.

        Yields:
            The decoder's word on every batch, in order; nothing where there are no prompts.
        """
        prompts = self._frame_prompts(size, boxes, points)
        for part in prompts.split(chunk) if len(prompts) else ():
            with torch.inference_mode():
                found = self._model.decode(embedding.float(), part[None], multimask)
            yield MaskLogits(found.masks[0], found.quality[0], found.tokens[0])

    def tokens(
        self,
        embedding: Tensor,
        size: tuple[int, int],
        *,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
        multimask: bool = False,
        kind: TokenKind = "transformer",
    ) -> Tensor:
        """The tokens of prompts without their masks, which are most of the work; arguments as of :meth:`decode`.

        Args:
            embedding: of the picture.
            size: width and height of the picture.
            boxes: ``(P, 4)``.
            points: ``(P, 2)``.
            multimask: three tokens per prompt instead of one.
            kind: where they are taken.

        Returns:
            ``(P, M, C)`` float32.
        """
        parts = self._frame_prompts(size, boxes, points).split(_CHUNK)
        with torch.inference_mode():
            return torch.cat([self._model.tokens(embedding.float(), part[None], multimask, kind)[0] for part in parts])

    def _frame_prompts(self, size: tuple[int, int], boxes: np.ndarray | None, points: np.ndarray | None) -> Tensor:
        """Prompts in SAM's frame."""
        prompts = boxes if boxes is not None else points
        if prompts is None:
            raise ValueError("SAM needs boxes or points")
        frame = np.array(frame_size(size, self.image_size)) / np.array(size)
        scaled = (prompts * np.tile(frame, prompts.shape[1] // 2)).astype(np.float32)
        return torch.from_numpy(scaled).to(self._device)


def choose(logits: MaskLogits, choice: MaskChoice) -> MaskLogits:
    """Keep one mask per prompt, so that every M becomes 1."""
    count = logits.iou.shape[1]
    if choice == "best_iou":
        kept = logits.iou.argmax(1)
    else:
        kept = torch.full_like(logits.iou[:, 0], count - 1 if choice == "last" else 0, dtype=torch.long)
    rows = torch.arange(len(kept), device=kept.device)
    low_res, iou, tokens = (found[rows, kept][:, None] for found in (logits.low_res, logits.iou, logits.tokens))
    return MaskLogits(low_res, iou, tokens)


def load_sam(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> SamSegmenter:
    """Load a SAM.

    Args:
        source: a directory or a hub name.
        device: a torch device.
        dtype: of the picture encoder. Prompts are encoded and decoded in float32: they are pixels, of which bfloat16
            knows only every fourth from 512 on, and the cost is small.

    Raises:
        CheckpointError: it cannot be found, is no SAM, or lacks weights.
    """
    try:
        config, state = read_model(source)
        if config.get("model_type") != "sam":
            raise CheckpointError(f"{source} is a {config.get('model_type')} model, not a SAM", "name a SAM checkpoint")
        model = Sam(SamNetworkConfig.from_hugging_face(config))
        # The same numbers stand twice in released checkpoints.
        shared = state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
        if shared is not None:
            state.setdefault("shared_image_embedding.positional_embedding", shared)
        check_complete(source, model.state_dict().keys() - state.keys(), state.keys() - model.state_dict().keys())
        # Taken over and not copied: the largest SAM weighs gigabytes.
        model.load_state_dict({key: state[key].float() for key in model.state_dict()}, assign=True)
        model.vision_encoder.to(dtype)
        model.to(device)
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error
    return SamSegmenter(model, Path(source).name if Path(source).is_dir() else source)

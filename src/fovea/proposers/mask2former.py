"""Every query mask of a Mask2Former: the proposals of IteRPrimE (specs/iterprime.md, 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fovea.backbones.sam import SAM_MEAN, SAM_STD
from fovea.backbones.sources import check_complete, load_key, not_loaded
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.pictures import Picture
from fovea.regions import Regions, Rle, encode_masks, mask_bounds

#: A pixel belongs to a mask where its probability is greater; not the usual half.
THRESHOLD = 0.35

# What detectron2's default predictor does to a picture.
_SHORTER, _LONGER = 800, 1333
# Pictures are padded to a multiple of it: the backbone halves them five times.
_MULTIPLE = 32
# Most pixels of logits that are brought to the picture's size at once.
_PIXELS = 2**22


class Mask2Former:
    """Proposes the masks of all queries, whatever class they are of. Safe to share between threads.

    Args:
        model: ``Mask2FormerForUniversalSegmentation`` of transformers.
        name: how results name it.
    """

    source = "mask2former"

    def __init__(self, model: Any, name: str) -> None:
        self._model = model.eval().requires_grad_(False)
        self.name = name
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        #: Names the model in cache keys; differs between two loads of one name.
        self.key = load_key(name, self._device, self._dtype)

    def propose(self, picture: Picture, cache: FeatureCache) -> Regions:
        """One region per query whose mask is not empty, computed once per picture; none on a picture of one colour."""
        if picture.is_blank:
            return Regions.empty(picture.size, self.source)
        return cache.get_or_compute((self.source, self.key, picture.key), lambda: self._search(picture))

    def _search(self, picture: Picture) -> Regions:
        size = scaled_size(picture.size)
        pixels, padded = _inputs(picture, size)
        with torch.inference_mode():
            found = self._model(pixel_values=pixels.to(self._device, self._dtype))
            logits: Tensor = found.masks_queries_logits[0].float()
        masks: list[Rle] = []
        boxes: list[np.ndarray] = []
        width, height = picture.size
        for part in logits.split(max(1, _PIXELS // max(width * height, padded[0] * padded[1]))):
            frame = F.interpolate(part[None], padded, mode="bilinear", align_corners=False)
            frame = frame[..., : size[1], : size[0]]
            spread = F.interpolate(frame, (height, width), mode="bilinear", align_corners=False)[0]
            shown = (spread.sigmoid() > THRESHOLD).cpu().numpy()
            shown = shown[shown.any((1, 2))]
            masks += encode_masks(shown)
            boxes.append(mask_bounds(shown))
        return Regions(np.concatenate(boxes), picture.size, self.source, tuple(masks))


def scaled_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height that the network sees: the shorter side 800 pixels, unless the longer would pass 1333."""
    scale = min(_SHORTER / min(size), _LONGER / max(size))
    width, height = size
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def _inputs(picture: Picture, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Normalised pixels ``(1, 3, H, W)`` with zeros to the right and below, and their height and width."""
    pixels = torch.from_numpy(np.array(picture.image.resize(size, Image.Resampling.BILINEAR), np.float32))
    pixels = ((pixels - torch.tensor(SAM_MEAN)) / torch.tensor(SAM_STD)).permute(2, 0, 1)[None]
    right, below = (-side % _MULTIPLE for side in size)
    padded = F.pad(pixels, (0, right, 0, below))
    return padded, (padded.shape[2], padded.shape[3])


def load_mask2former(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Mask2Former:
    """Load a Mask2Former.

    Args:
        source: a directory or a hub name.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is no Mask2Former.
    """
    # Importing model classes of transformers takes longer than answering a question with the minis.
    from transformers import AutoConfig, Mask2FormerForUniversalSegmentation

    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind != "mask2former":
            raise CheckpointError(f"{source} is a {kind} model, not a Mask2Former", "name a Mask2Former")
        model, report = Mask2FormerForUniversalSegmentation.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        check_complete(source, report["missing_keys"], report["unexpected_keys"])
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error
    return Mask2Former(model.to(device), source)

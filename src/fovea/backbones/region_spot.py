"""RegionSpot: a SAM, a CLIP and the small head between them, which names all regions of a picture in one pass.

Source: "Recognize Any Regions" (Yang et al., 2024); specs/regionspot.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.backbones.clip import ClipEncoder
from fovea.backbones.inner import PlaceTokens
from fovea.backbones.region_spot_files import RegionSpotSettings, open_region_spot
from fovea.backbones.sam import MaskLogits, SamSegmenter, picture_logits
from fovea.backbones.sam_tokens import box_tokens
from fovea.backbones.sources import load_key
from fovea.backbones.text_bank import TextBank
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.networks.fourier import fourier_grid
from fovea.networks.region_spot import Context, RegionSpotHead
from fovea.pictures import Picture

# How loud positions are: with 32 channels about as long as the tokens of mini-clip-resnet.
_POSITION_SCALE = 4.0


class ClipPlaces:
    """All tokens of a CLIP's last block for the whole picture, squashed to a square.

    A large CLIP's tokens say where they are, which is how regions find their places. A small one's do not: from
    those of the minis nobody can read it. Then positions are appended to the tokens.

    Args:
        encoder: the CLIP, a vision transformer with a class token, or a ResNet, whose mean token stands for it.
        size: side of the square in pixels, a multiple of the CLIP's patches; of another size than the CLIP's own, its
            positions are resized.
        antialias: whether pictures are made smaller without aliasing; released heads were trained with aliasing.
        positions: channels that tell each place's position, a multiple of 4; 0 for none. The first token has zeros.

    Raises:
        CheckpointError: the CLIP is built otherwise, or the size does not fit.
    """

    def __init__(self, encoder: ClipEncoder, size: int, antialias: bool = True, positions: int = 0) -> None:
        tokens = encoder.inner_tokens()
        if not isinstance(tokens, PlaceTokens):
            raise CheckpointError(
                f"the picture tower of {encoder.name} has no places that can be read, and RegionSpot needs them",
                "use one such as openai/clip-vit-base-patch16, or --models mini-vit",
            )
        if size < tokens.patch or size % tokens.patch:
            raise CheckpointError(
                f"{size} pixels cannot be divided into patches of {tokens.patch}", "give a multiple of them"
            )
        self.encoder, self.size, self.antialias, self._tokens = encoder, size, antialias, tokens
        #: Places along one side.
        self.grid = size // tokens.patch
        #: Width of the tokens.
        self.width = tokens.width + positions
        self._positions = _POSITION_SCALE * F.pad(fourier_grid(self.grid, positions), (0, 0, 1, 0))

    def of(self, picture: Picture, cache: FeatureCache) -> Tensor:
        """Tokens of a picture, which is seen once.

        Args:
            picture: what is looked at.
            cache: keeps them.

        Returns:
            ``(1, 1 + grid * grid, width)`` float32, the class token first, without the norm behind the last block.
        """
        key = ("clip-places", self.encoder.key, self.size, self.antialias, picture.key)
        tokens = cache.get_or_compute(key, lambda: self._see(picture))
        if not self._positions.shape[1]:
            return tokens
        return torch.cat([tokens, self._positions[None].to(tokens)], dim=-1)

    def _see(self, picture: Picture) -> Tensor:
        planes = torch.from_numpy(picture.pixels.astype(np.float32)).permute(2, 0, 1)[None]
        squashed = F.interpolate(planes, (self.size, self.size), mode="bilinear", antialias=self.antialias)
        with torch.inference_mode():
            pixels = self.encoder.tensor(squashed.permute(0, 2, 3, 1).numpy())
            return self._tokens.places(pixels).float()

    def readout(self) -> tuple[Tensor, Tensor]:
        """See :meth:`fovea.backbones.inner.PlaceTokens.readout`; positions count nothing. On the CPU, float32."""
        weight, bias = (part.float().cpu() for part in self._tokens.readout())
        return F.pad(weight, (0, self.width - self._tokens.width)), bias


@dataclass(frozen=True, eq=False)
class Predicted:
    """What is said of prompts, with one hypothesis each or three.

    Attributes:
        logits: ``(P, M, C)`` float32, of every hypothesis and name.
        masks: ``(P, M, H, W)`` bool, at the picture's size.
        quality: ``(P, M)`` float32, SAM's own estimate of each mask's IoU.
    """

    logits: np.ndarray
    masks: np.ndarray
    quality: np.ndarray

    def best(self) -> Predicted:
        """The hypothesis of every prompt that SAM itself thinks best, so that M becomes 1."""
        rows, kept = np.arange(len(self.quality)), self.quality.argmax(axis=1)
        return Predicted(*(found[rows, kept][:, None] for found in (self.logits, self.masks, self.quality)))


class RegionSpotModel:
    """The three models together. Safe to share between threads: it keeps no state between calls.

    Args:
        head: the trained part.
        places: the CLIP's.
        segmenter: the SAM.
        bank: names as vectors of the same CLIP.
        settings: what the head was trained with.
        name: how results name the head.

    Raises:
        CheckpointError: they do not fit together.
    """

    def __init__(
        self,
        head: RegionSpotHead,
        places: ClipPlaces,
        segmenter: SamSegmenter,
        bank: TextBank,
        settings: RegionSpotSettings,
        name: str,
    ) -> None:
        _check_width(name, settings, "CLIP", head.config.clip_width, places.width)
        _check_width(name, settings, "SAM", head.config.token_width, segmenter.token_width(settings.token_kind))
        self.head, self.places, self.segmenter, self.bank = head, places, segmenter, bank
        self.settings, self.name = settings, name
        self._device = next(head.parameters()).device
        #: Names the model in cache keys; differs between two loads of one name.
        self.key = (load_key(name, self._device, torch.float32), places.encoder.key, segmenter.key)

    @property
    def logit_scale(self) -> float:
        """What a cosine of 1 counts: the CLIP's temperature."""
        return self.places.encoder.logit_scale

    def vectors(self, picture: Picture, boxes: np.ndarray, cache: FeatureCache, context: Context = "set") -> np.ndarray:
        """Vectors of the regions of a picture, all in one pass.

        SAM takes the boxes in batches, which changes nothing. The head takes them together, whatever their number: in a
        ``set`` a region looks at all others.

        Args:
            picture: what is looked at.
            boxes: ``(N, 4)`` float32 xyxy pixels.
            cache: keeps what the models see of the picture, and the vectors.
            context: whether regions look at each other.

        Returns:
            ``(N, D)`` float32 of unit length, to be compared with the bank's.
        """
        if not len(boxes):
            return np.zeros((0, self.head.config.text_width), np.float32)

        def compute() -> np.ndarray:
            with torch.inference_mode():
                found = self.head(*self._seen(picture, boxes, cache), context=context)
            return np.asarray(found[0].cpu().numpy())

        return cache.get_or_compute(("region-spot", self.key, picture.key, boxes.tobytes(), context), compute)

    def _seen(self, picture: Picture, boxes: np.ndarray, cache: FeatureCache) -> tuple[Tensor, Tensor]:
        tokens = box_tokens(self.segmenter, picture, boxes, cache, self.settings.token_kind)[None]
        return tokens.to(self._device), self.places.of(picture, cache).to(self._device)

    def looks(self, picture: Picture, boxes: np.ndarray, cache: FeatureCache, context: Context = "set") -> np.ndarray:
        """Where regions look in the last layer, the mean over heads, without the class token; arguments as above.

        Returns:
            ``(N, grid, grid)`` float32, shares from 0 on.
        """
        if not len(boxes):
            return np.zeros((0, self.places.grid, self.places.grid), np.float32)
        last = self.head.looks(*self._seen(picture, boxes, cache), context=context)[-1].places[0]
        count = self.places.grid**2
        return np.asarray(last[:, -count:].unflatten(1, (self.places.grid, -1)).cpu().numpy())

    def predict(
        self,
        picture: Picture,
        names: list[str],
        cache: FeatureCache,
        *,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
        multimask: bool = False,
    ) -> Predicted:
        """Names and masks of prompts, as the released predictor gives them (specs/regionspot.md, 8).

        With several hypotheses, the first ones of all prompts look at each other, and so do the second and the third;
        the released program keeps only what is said of the first prompt, here it is all.

        Args:
            picture: what is looked at.
            names: C candidate names.
            cache: keeps what the models see of the picture.
            boxes: ``(P, 4)`` float32 xyxy pixels.
            points: ``(P, 2)`` float32 xy pixels, each a prompt of its own. The released head was trained on boxes.
            multimask: three hypotheses per prompt instead of one.
        """
        embedding, kind = self.segmenter.embed(picture, cache), self.settings.token_kind
        found = list(self.segmenter.decode(embedding, picture.size, boxes=boxes, points=points, multimask=multimask))
        if not found or not names:
            raise ValueError("a prediction needs a prompt and a name")
        if kind == "transformer":
            tokens = torch.cat([part.tokens for part in found])
        else:
            tokens = self.segmenter.tokens(
                embedding, picture.size, boxes=boxes, points=points, multimask=multimask, kind=kind
            )
        tokens = tokens.transpose(0, 1).to(self._device)
        seen = self.places.of(picture, cache).to(self._device).expand(len(tokens), -1, -1)
        with torch.inference_mode():
            vectors = self.head(tokens, seen).transpose(0, 1).cpu().numpy()
        logits = self.logit_scale * vectors @ self.bank.vectors(names).T
        masks = [self._masks(part, picture.size) for part in found]
        quality = np.concatenate([part.iou.cpu().numpy() for part in found])
        return Predicted(logits, np.concatenate(masks), quality)

    def _masks(self, part: MaskLogits, size: tuple[int, int]) -> np.ndarray:
        """``(p, M, H, W)`` bool."""
        slices = picture_logits(part.low_res.flatten(0, 1), size, self.segmenter.image_size)
        masks = np.concatenate([(logits > 0).cpu().numpy() for logits in slices])
        return masks.reshape(*part.low_res.shape[:2], *masks.shape[1:])


def _check_width(name: str, settings: RegionSpotSettings, what: str, wanted: int, found: int) -> None:
    if wanted != found:
        trained = settings.clip if what == "CLIP" else settings.sam
        raise CheckpointError(
            f"{name} needs a {what} whose tokens have {wanted} numbers, and this one's have {found}",
            f"it was trained with {trained}: name that with --models"
            if trained
            else "name the one it was trained with",
        )


def load_region_spot(
    source: str,
    encoder: ClipEncoder,
    segmenter: SamSegmenter,
    *,
    clip: str = "",
    sam: str = "",
    device: str = "cpu",
) -> RegionSpotModel:
    """Load a head and put it between its models.

    Args:
        source: a directory or a hub name, of a head in the layout of :mod:`fovea.backbones.region_spot_files`.
        encoder: the CLIP.
        segmenter: the SAM.
        clip: where the CLIP comes from, to be compared with what the head was trained with; not compared by default.
            With it, the vectors of vocabularies are kept on disk.
        sam: likewise.
        device: a torch device. The head always computes in float32: its logits are large.

    Raises:
        CheckpointError: it cannot be found, is no such head, or was trained with other models.
    """
    from fovea.backbones.sources import fingerprint

    head, settings, name = open_region_spot(source)
    settings.check_models(name, clip, sam)
    places = ClipPlaces(encoder, settings.clip_size or encoder.image_size, settings.antialias, settings.positions)
    bank = TextBank(encoder, settings.templates, settings.reduce, (lambda: fingerprint(clip)) if clip else None)
    return RegionSpotModel(head.to(device), places, segmenter, bank, settings, name)

"""Everything that stands out: SAM asked at every point of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fovea.backbones.sam import MaskLogits, SamSegmenter, picture_logits
from fovea.cache import FeatureCache
from fovea.pictures import Picture
from fovea.proposers.crops import Crop, crop_layers, cut_off
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.mask_filter import MaskFilter
from fovea.proposers.nms import suppress
from fovea.regions import Regions, Rle, decode_masks, encode_masks, mask_bounds

# From boxes that end behind their last pixel to those of the released program, which end at it.
_INCLUSIVE = np.array([0, 0, 1, 1], np.float32)

# Of boxes from different crops with a greater IoU one is dropped; mended masks are compared with no less.
_BETWEEN_CROPS = 0.7


def point_grid(points_per_side: int) -> np.ndarray:
    """Points at ``(i + 0.5) / n`` of both sides, x fastest: ``(n * n, 2)`` float64 in 0..1."""
    places = (np.arange(points_per_side) + 0.5) / points_per_side
    xs, ys = np.meshgrid(places, places)
    return np.stack([xs.ravel(), ys.ravel()], axis=-1)


def stability(logits: Tensor, offset: float) -> Tensor:
    """How little masks ``(..., h, w)`` change when their threshold moves by ``offset`` logits; 0..1, 0 for nothing."""

    def area_above(threshold: float) -> Tensor:
        # Columns first and in 32 bits: summing the whole plane at once takes longer.
        return (logits > threshold).sum(-2, dtype=torch.int32).sum(-1).float()

    smaller, larger = area_above(offset), area_above(-offset)
    return torch.where(larger > 0, smaller / larger.clamp(min=1), torch.zeros_like(larger))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Masks that passed the filters so far; rows belong together."""

    masks: tuple[Rle, ...]
    boxes: np.ndarray
    scores: np.ndarray

    def select(self, rows: np.ndarray) -> _Candidates:
        return _Candidates(tuple(self.masks[row] for row in rows), self.boxes[rows], self.scores[rows])


def _survivors(batch: MaskLogits, size: tuple[int, int], longest: int, settings: GridSettings) -> Iterator[_Candidates]:
    """Filter one batch of prompts; only masks that SAM trusts are brought to the picture's size."""
    trusted = batch.iou > settings.min_iou
    scores = batch.iou[trusted]
    for logits in picture_logits(batch.low_res[trusted], size, longest):
        steady = stability(logits, settings.stability_offset) >= settings.min_stability
        masks = (logits[steady] > 0).cpu().numpy()
        kept = [row for row, area in enumerate(masks.sum((1, 2))) if area > 0 and settings.mask_filter.keeps(int(area))]
        sure = scores[: len(logits)][steady].cpu().numpy()
        yield _Candidates(encode_masks(masks[kept]), mask_bounds(masks[kept]), sure[kept])
        scores = scores[len(logits) :]


def _joined(parts: Iterable[_Candidates]) -> _Candidates:
    parts = list(parts)
    return _Candidates(
        tuple(mask for part in parts for mask in part.masks),
        np.concatenate([part.boxes for part in parts] or [np.zeros((0, 4), np.float32)]),
        np.concatenate([part.scores for part in parts] or [np.zeros(0, np.float32)]),
    )


def _suppressed(found: _Candidates, scores: np.ndarray, max_overlap: float) -> _Candidates:
    # The released program measures overlap on boxes whose last pixel is inclusive.
    return found.select(suppress(found.boxes - _INCLUSIVE, scores, max_overlap))


def _mended(found: _Candidates, mask_filter: MaskFilter, max_overlap: float) -> _Candidates:
    """Mend every mask; of two that now overlap, the one that needed no mending stays."""
    masks, untouched = list(found.masks), np.ones(len(found.masks))
    boxes = found.boxes.copy()
    kept = np.ones(len(masks), bool)
    for row, rle in enumerate(found.masks):
        mended, changed = mask_filter.mend(decode_masks([rle])[0])
        if changed:
            masks[row], boxes[row], untouched[row] = encode_masks(mended[None])[0], mask_bounds(mended[None])[0], 0
            # Mending may bring a mask out of the sizes that count.
            kept[row] = mask_filter.keeps(int(mended.sum()))
    rows = np.flatnonzero(kept)
    return _suppressed(_Candidates(tuple(masks), boxes, found.scores).select(rows), untouched[rows], max_overlap)


def _kept(
    batches: Iterable[MaskLogits], crop: Crop, size: tuple[int, int], longest: int, settings: GridSettings
) -> _Candidates:
    """What a decoder found in one crop, in pixels of the picture, without what the crop cuts off."""
    x1, y1, x2, y2 = crop.box
    part = (x2 - x1, y2 - y1)
    found = _joined(kept for batch in batches for kept in _survivors(batch, part, longest, settings))
    boxes = found.boxes + np.array([x1, y1, x1, y1], np.float32)
    # The released program takes the last pixel of a box as inclusive.
    whole = np.flatnonzero(~cut_off(boxes - _INCLUSIVE, crop, size))
    found = _Candidates(found.masks, boxes, found.scores).select(whole)
    found = _suppressed(found, found.scores, settings.max_overlap)
    if part == size:
        return found
    return _Candidates(tuple(_moved(mask, crop, size) for mask in found.masks), found.boxes, found.scores)


def _moved(rle: Rle, crop: Crop, size: tuple[int, int]) -> Rle:
    """The mask of a crop as one of the picture."""
    x1, y1, x2, y2 = crop.box
    mask = np.zeros((1, size[1], size[0]), bool)
    mask[0, y1:y2, x1:x2] = decode_masks([rle])[0]
    return encode_masks(mask)[0]


def collect(
    found: Iterable[tuple[Crop, Iterable[MaskLogits]]], size: tuple[int, int], longest: int, settings: GridSettings
) -> Regions:
    """Turn what a decoder says about grid points into regions (specs/fgvp.md, b).

    Args:
        found: for each crop, three masks for every point.
        size: width and height of the picture.
        longest: side of the segmenter's square input.
        settings: which masks count.

    Returns:
        Regions with masks; scores are SAM's own estimates of their IoU.
    """
    parts, preference = list[_Candidates](), list[np.ndarray]()
    for crop, batches in found:
        parts.append(_kept(batches, crop, size, longest, settings))
        preference.append(np.full(len(parts[-1].masks), 1 / crop.area))
    joined = _joined(parts)
    if len(parts) > 1:
        # Of two crops that found the same thing the smaller saw it better.
        joined = _suppressed(joined, np.concatenate(preference), _BETWEEN_CROPS)
    if settings.mask_filter.mends:
        joined = _mended(joined, settings.mask_filter, max(settings.max_overlap, _BETWEEN_CROPS))
    return Regions(joined.boxes, size, "sam-grid", joined.masks, joined.scores)


class SamGrid:
    """Proposes every mask that SAM finds from a grid of points.

    Args:
        segmenter: the network.
        settings: how dense the grid is and which masks count.
    """

    source = "sam-grid"

    def __init__(self, segmenter: SamSegmenter, settings: GridSettings | None = None) -> None:
        self.segmenter = segmenter
        self.settings = settings or GridSettings()

    def propose(self, picture: Picture, cache: FeatureCache) -> Regions:
        """All regions of a picture, computed once; none on a picture of one colour."""
        if picture.is_blank:
            return Regions.empty(picture.size, self.source)
        key = ("sam-grid", self.segmenter.key, self.settings, picture.key)
        return cache.get_or_compute(key, lambda: self._search(picture, cache))

    def _search(self, picture: Picture, cache: FeatureCache) -> Regions:
        crops = crop_layers(picture.size, self.settings.crop_layers)
        found = ((crop, self._ask(picture, crop, cache)) for crop in crops)
        return collect(found, picture.size, self.segmenter.image_size, self.settings)

    def _ask(self, picture: Picture, crop: Crop, cache: FeatureCache) -> Iterator[MaskLogits]:
        """What SAM says about the points of a crop."""
        part = picture if crop.layer == 0 else Picture(picture.image.crop(crop.box))
        points = point_grid(max(1, self.settings.points_per_side // self.settings.points_divisor**crop.layer))
        embedding = self.segmenter.embed(part, cache)
        return self.segmenter.decode(embedding, part.size, points=points * np.array(part.size), multimask=True)

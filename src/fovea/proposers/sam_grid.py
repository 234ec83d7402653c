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
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.mask_filter import MaskFilter
from fovea.proposers.nms import suppress
from fovea.regions import Regions, Rle, decode_masks, encode_masks, mask_bounds


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
    return found.select(suppress(found.boxes - np.array([0, 0, 1, 1], np.float32), scores, max_overlap))


def _mended(found: _Candidates, mask_filter: MaskFilter, max_overlap: float) -> _Candidates:
    """Mend every mask; of two that now overlap, the one that needed no mending stays."""
    masks, untouched = list(found.masks), np.ones(len(found.masks))
    boxes = found.boxes.copy()
    for row, rle in enumerate(found.masks):
        mended, changed = mask_filter.mend(decode_masks([rle])[0])
        if changed:
            masks[row], boxes[row], untouched[row] = encode_masks(mended[None])[0], mask_bounds(mended[None])[0], 0
    return _suppressed(_Candidates(tuple(masks), boxes, found.scores), untouched, max_overlap)


def collect(batches: Iterable[MaskLogits], size: tuple[int, int], longest: int, settings: GridSettings) -> Regions:
    """Turn what a decoder says about grid points into regions (specs/fgvp.md, b).

    Args:
        batches: three masks for every point.
        size: width and height of the picture.
        longest: side of the segmenter's square input.
        settings: which masks count.

    Returns:
        Regions with masks; scores are SAM's own estimates of their IoU.
    """
    found = _joined(part for batch in batches for part in _survivors(batch, size, longest, settings))
    found = _suppressed(found, found.scores, settings.max_overlap)
    if settings.mask_filter.mends:
        # The released program compares with the overlap allowed between crops, which is 0.7, and takes the greater.
        found = _mended(found, settings.mask_filter, max(settings.max_overlap, 0.7))
    return Regions(found.boxes, size, "sam-grid", found.masks, found.scores)


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
        embedding = self.segmenter.embed(picture, cache)
        points = point_grid(self.settings.points_per_side) * np.array(picture.size)
        batches = self.segmenter.decode(embedding, picture.size, points=points, multimask=True)
        return collect(batches, picture.size, self.segmenter.image_size, self.settings)

"""Regions that a user points at: SAM turns boxes and points into masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fovea.backbones.sam import MaskChoice, MaskLogits, SamSegmenter, choose, picture_logits
from fovea.backbones.sam_tokens import keep_box_tokens
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.pictures import Picture
from fovea.proposers.mask_filter import MaskFilter
from fovea.regions import Regions, Rle, encode_masks, mask_bounds


def _masks(batch: MaskLogits, size: tuple[int, int], longest: int, mender: MaskFilter) -> Iterator[np.ndarray]:
    """One mended mask per prompt, ``(p, height, width)`` bool, in slices that stay small."""
    for logits in picture_logits(batch.low_res[:, 0], size, longest):
        masks = (logits > 0).cpu().numpy()
        yield np.stack([mender.mend(mask)[0] for mask in masks]) if mender.mends else masks


def add_masks(
    picture: Picture,
    regions: Regions,
    segmenter: SamSegmenter,
    cache: FeatureCache,
    *,
    choice: MaskChoice = "single",
    mask_filter: MaskFilter | None = None,
) -> Regions:
    """Give every box the mask that SAM sees in it.

    Args:
        picture: what is looked at.
        regions: N boxes; they stay as they are.
        segmenter: the network.
        cache: keeps the picture's embedding and the masks.
        choice: which of SAM's masks to take.
        mask_filter: how masks are mended; not at all by default.

    Returns:
        The same regions with masks; the source says that SAM drew them.
    """
    mender = mask_filter or MaskFilter()

    def compute() -> tuple[Rle, ...]:
        embedding, rles = segmenter.embed(picture, cache), list[Rle]()
        for batch in segmenter.decode(embedding, picture.size, boxes=regions.boxes, multimask=choice != "single"):
            if choice == "single":
                decoded = regions.boxes[len(rles) : len(rles) + len(batch.tokens)]
                keep_box_tokens(segmenter, picture, decoded, batch.tokens[:, 0], cache)
            for masks in _masks(choose(batch, choice), picture.size, segmenter.image_size, mender):
                rles += encode_masks(masks)
        return tuple(rles)

    key = ("sam-boxes", segmenter.key, picture.key, regions.key, choice, mender)
    masks = cache.get_or_compute(key, compute) if len(regions) else ()
    return regions.with_masks(masks, f"{regions.source}+sam-masks")


def regions_at(
    picture: Picture,
    points: Any,
    segmenter: SamSegmenter,
    cache: FeatureCache,
    *,
    choice: MaskChoice = "best_iou",
    mask_filter: MaskFilter | None = None,
) -> Regions:
    """The region at every point.

    Args:
        picture: what is looked at.
        points: ``(N, 2)`` xy pixels, each the prompt of one region.
        segmenter: the network.
        cache: keeps the picture's embedding and the regions.
        choice: which of SAM's masks to take.
        mask_filter: how masks are mended; not at all by default.

    Returns:
        N regions with masks and SAM's own estimate of their IoU. Where SAM sees nothing the region is the pixel.

    Raises:
        RegionError: a point lies outside of the picture or is no point.
    """
    checked = _checked_points(points, picture.size)
    if not len(checked):
        return Regions.empty(picture.size, "sam-points")
    mender = mask_filter or MaskFilter()
    key = ("sam-points", segmenter.key, picture.key, checked.tobytes(), choice, mender)
    return cache.get_or_compute(key, lambda: _regions_at(picture, checked, segmenter, cache, choice, mender))


def _checked_points(points: Any, size: tuple[int, int]) -> np.ndarray:
    """``(N, 2)`` float32 inside the picture, or an error that names the point."""
    try:
        array = np.asarray(points, np.float32)
    except (TypeError, ValueError) as error:
        raise RegionError("points must be pairs of numbers", "give x, y in pixels") from error
    if array.size == 0:
        return np.zeros((0, 2), np.float32)
    if array.ndim != 2 or array.shape[1] != 2:
        raise RegionError(f"points have the shape {array.shape}, not (N, 2)", "give x, y for every point")
    width, height = size
    for x, y in array.tolist():
        # Also refuses what is not a number.
        if not (0 <= x < width and 0 <= y < height):
            raise RegionError(f"the point {x:g},{y:g} lies outside of the picture of {width} x {height} pixels")
    return array


def _regions_at(
    picture: Picture,
    points: np.ndarray,
    segmenter: SamSegmenter,
    cache: FeatureCache,
    choice: MaskChoice,
    mender: MaskFilter,
) -> Regions:
    rles, boxes, scores = list[Rle](), list[np.ndarray](), list[np.ndarray]()
    embedding = segmenter.embed(picture, cache)
    for batch in segmenter.decode(embedding, picture.size, points=points, multimask=choice != "single"):
        chosen = choose(batch, choice)
        scores.append(torch.flatten(chosen.iou).cpu().numpy())
        for masks in _masks(chosen, picture.size, segmenter.image_size, mender):
            for mask, (x, y) in zip(masks, points[len(rles) :].astype(int), strict=False):
                if not mask.any():
                    mask[y, x] = True
            rles += encode_masks(masks)
            boxes.append(mask_bounds(masks))
    return Regions(np.concatenate(boxes), picture.size, "sam-points", tuple(rles), np.concatenate(scores))

"""Regions that a user points at: SAM turns boxes and points into masks."""

from __future__ import annotations

import numpy as np
import torch

from fovea.backbones.sam import MaskChoice, MaskLogits, SamSegmenter, choose, to_picture, upsample
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.pictures import Picture
from fovea.proposers.mask_filter import MaskFilter
from fovea.regions import Regions, Rle, encode_masks, mask_bounds


def _masks(
    batch: MaskLogits, size: tuple[int, int], longest: int, choice: MaskChoice, mask_filter: MaskFilter
) -> np.ndarray:
    chosen = choose(batch, choice)
    masks = to_picture(upsample(chosen.low_res, size, longest)[:, 0], size)
    if mask_filter.mends:
        masks = np.stack([mask_filter.mend(mask)[0] for mask in masks])
    return masks


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
        if not len(regions):
            return ()
        batches = segmenter.decode(
            segmenter.embed(picture, cache), picture.size, boxes=regions.boxes, multimask=choice != "single"
        )
        dense = [_masks(batch, picture.size, segmenter.image_size, choice, mender) for batch in batches]
        return tuple(rle for part in dense for rle in encode_masks(part))

    key = ("sam-boxes", segmenter.key, picture.key, regions.key, choice, mender)
    return regions.with_masks(cache.get_or_compute(key, compute), f"{regions.source}+sam-masks")


def regions_at(
    picture: Picture,
    points: np.ndarray,
    segmenter: SamSegmenter,
    cache: FeatureCache,
    *,
    choice: MaskChoice = "best_iou",
) -> Regions:
    """The region at every point.

    Args:
        picture: what is looked at.
        points: ``(N, 2)`` xy pixels, each the prompt of one region.
        segmenter: the network.
        cache: keeps the picture's embedding.
        choice: which of SAM's masks to take.

    Returns:
        N regions with masks and SAM's own estimate of their IoU. Where SAM sees nothing the region is the pixel.

    Raises:
        RegionError: a point lies outside of the picture or is no point.
    """
    points = np.asarray(points, np.float32).reshape(-1, 2)
    width, height = picture.size
    for x, y in points.tolist():
        if not (0 <= x < width and 0 <= y < height):
            raise RegionError(f"the point {x:g},{y:g} lies outside of the picture of {width} x {height} pixels")
    embedding = segmenter.embed(picture, cache)
    rles: list[Rle] = []
    boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    for batch in segmenter.decode(embedding, picture.size, points=points, multimask=choice != "single"):
        masks = _masks(batch, picture.size, segmenter.image_size, choice, MaskFilter())
        for row, (x, y) in enumerate(points[len(rles) : len(rles) + len(masks)].astype(int)):
            if not masks[row].any():
                masks[row, y, x] = True
        rles += encode_masks(masks)
        boxes.append(mask_bounds(masks))
        scores.append(torch.flatten(choose(batch, choice).iou).cpu().numpy())
    return Regions(np.concatenate(boxes), picture.size, "sam-points", tuple(rles), np.concatenate(scores))

"""Grounding records to described regions: SAM turns the boxes of phrases into masks (specs/alphaclip.md, 8)."""

from __future__ import annotations

import numpy as np

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.datasets.region_texts import DescribedPicture, RegionText
from fovea.pipelines.records import Grounded, Skipped
from fovea.proposers.sam_prompts import add_masks
from fovea.regions import Regions, rle_to_json


def describe_grounded(key: str, content: Grounded, segmenter: SamSegmenter) -> tuple[DescribedPicture, list[str]]:
    """Give every phrase the mask that SAM sees in its box.

    The picture is embedded once and its boxes are decoded together; phrases that share a box share its mask.

    Args:
        key: of the result.
        content: what is known about the picture.
        segmenter: the network.

    Returns:
        The described picture, and a line for every phrase that was left out.

    Raises:
        Skipped: no phrase is left.
    """
    upright, phrases = content.upright, content.grounding.phrases
    left_out = list(content.grounding.problems)
    if not phrases:
        raise Skipped("; ".join(left_out[:3]) or "it has no phrases")
    boxes, places = np.unique(np.array([phrase.box for phrase in phrases], np.float32), axis=0, return_inverse=True)
    regions = Regions(boxes, upright.picture.size)
    # Nothing is asked for twice here: a cache would only hold memory.
    masks = add_masks(upright.picture, regions, segmenter, FeatureCache(0)).masks or ()
    filled = [rle_to_json(rle) if area else None for rle, area in zip(masks, _areas(masks), strict=True)]
    described = list[RegionText]()
    for number, (phrase, place) in enumerate(zip(phrases, places.reshape(-1), strict=True)):
        mask = filled[place]
        if mask is None:
            left_out.append(f"phrase {number}: SAM sees nothing in its box")
        else:
            described.append(RegionText(phrase.text, mask, phrase.box, phrase.score))
    if not described:
        raise Skipped("SAM sees nothing in any of its boxes")
    caption = content.grounding.caption
    return DescribedPicture(key, upright.data, upright.suffix, caption, tuple(described)), left_out


def _areas(masks: tuple[dict, ...]) -> np.ndarray:
    from pycocotools import mask as coco_mask

    return np.asarray(coco_mask.area(list(masks)))

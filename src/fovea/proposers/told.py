"""Boxes that a captioner says, one for each expression: a proposer that listens to the question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco_mask

from fovea.cache import FeatureCache
from fovea.language.box_text import Box
from fovea.language.templates import without_article
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.tellers import BoxTeller
from fovea.tellers.reading import box_of
from fovea.tellers.squashing import squashed

if TYPE_CHECKING:
    from fovea.backbones.sam import SamSegmenter


@dataclass(frozen=True)
class Told:
    """What was said of one expression: the answer, and its box in the picture's pixels, or None without one."""

    answer: str
    box: Box | None


class ToldBoxes:
    """Asks where every expression is. Safe to share between threads if its teller is.

    Args:
        teller: who is asked; expressions are named without their article.
        load_segmenter: gives a SAM, when it is first needed: each box then becomes the mask that SAM sees in it, with
            the mask's own bounds. None leaves boxes as they are said.
    """

    def __init__(
        self,
        teller: BoxTeller,
        load_segmenter: Callable[[], SamSegmenter] | None = None,
    ) -> None:
        self.teller, self._load_segmenter = teller, load_segmenter
        self.source = "told-by-vlm" if load_segmenter is None else "told-by-vlm+sam-bounds"

    def told(self, picture: Picture, texts: Sequence[str], cache: FeatureCache) -> list[Told]:
        """What is said of each expression; each is asked for once, new ones together."""
        names = [without_article(text) for text in texts]

        def compute(missing: list[int]) -> list[str]:
            frame = squashed(picture, self.teller.size)
            return self.teller.tell(np.stack([frame] * len(missing)), [names[i] for i in missing])

        keys = [("told", self.teller.key, picture.key, name) for name in names]
        return [
            Told(answer, box_of(answer, self.teller.codec, picture.size, "lenient"))
            for answer in cache.get_or_compute_many(keys, compute)
        ]

    def regions_of(self, picture: Picture, texts: Sequence[str], cache: FeatureCache) -> list[Regions]:
        """The region of every expression: one, or none where its answer cannot be read."""
        boxes = [one.box for one in self.told(picture, texts, cache)]
        if picture.is_blank:
            boxes = [None] * len(boxes)
        said = Regions(np.array([box for box in boxes if box is not None], np.float32), picture.size, self.source)
        shaped = iter(range(len(said)))
        said = self._snapped(picture, said, cache)
        return [said.select([] if box is None else [next(shaped)]) for box in boxes]

    def propose_for(self, picture: Picture, texts: Sequence[str], cache: FeatureCache) -> Regions:
        """The regions of all expressions; those that are said twice count once."""
        found = [one for one in self.regions_of(picture, texts, cache) if len(one)]
        once = list({one.key: one for one in found}.values())
        if not once:
            return Regions.empty(picture.size, self.source)
        masks = None if once[0].masks is None else tuple(mask for one in once for mask in one.masks or ())
        return Regions(np.concatenate([one.boxes for one in once]), picture.size, self.source, masks)

    def _snapped(self, picture: Picture, said: Regions, cache: FeatureCache) -> Regions:
        if self._load_segmenter is None or not len(said):
            return said
        from fovea.proposers.sam_prompts import add_masks

        masks = add_masks(picture, said, self._load_segmenter(), cache).masks or ()
        left, top, width, height = np.moveaxis(coco_mask.toBbox(list(masks)), 1, 0)
        bounds = np.stack([left, top, left + width, top + height], axis=1)
        # Where SAM sees nothing, what was said stays.
        seen = width * height > 0
        filled = said.with_filled_boxes().masks or ()
        kept = [mask if one else box for mask, box, one in zip(masks, filled, seen, strict=True)]
        return Regions(np.where(seen[:, None], bounds, said.boxes), said.size, self.source, tuple(kept))

"""The regions that a question is about: what the user points at, or all that SAM's grid finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.pictures import Picture
from fovea.proposers import Proposer, TextProposer
from fovea.proposers.grid_settings import GridSettings
from fovea.regions import Regions

if TYPE_CHECKING:
    from fovea.backbones.sam import SamSegmenter


@dataclass(frozen=True, eq=False)
class Pointed:
    """What a user points at, in one of four ways; in none, and the picture is searched.

    Attributes:
        boxes: ``(N, 4)`` xyxy pixels of the upright picture.
        masks: ``(N, H, W)`` bool; may come with their boxes.
        points: ``(N, 2)`` xy pixels; SAM finds the region at each.
        regions: ready regions, with their own provenance.

    Raises:
        RegionError: more than one way is used.
    """

    boxes: Any = None
    masks: np.ndarray | None = None
    points: Any = None
    regions: Regions | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("boxes", "masks", "points", "regions") if getattr(self, name) is not None]
        if len(given) > 1 and given != ["boxes", "masks"]:
            raise RegionError(f"{' and '.join(given)} are given together", "give boxes, masks, points or regions")

    @property
    def nothing(self) -> bool:
        """Whether the picture is to be searched."""
        return self.boxes is None and self.masks is None and self.points is None and self.regions is None

    @property
    def has_masks(self) -> bool:
        """Whether nothing is left for a segmenter to do."""
        return self.masks is not None or (self.regions is not None and self.regions.masks is not None)


class RegionFinder:
    """Turns what a user points at into regions, or searches the picture. Safe to share between threads.

    Args:
        load_segmenter: gives the segmenter, when it is first needed.
        grid: how a picture is searched with it, and how masks are mended.
        load_proposer: gives what searches a picture in place of SAM's grid, when it is first needed.
    """

    def __init__(
        self,
        load_segmenter: Callable[[], SamSegmenter],
        grid: GridSettings | None = None,
        load_proposer: Callable[[], Proposer | TextProposer] | None = None,
    ) -> None:
        self._load_segmenter, self._load_proposer = load_segmenter, load_proposer
        self.grid = grid or GridSettings()

    @property
    def segmenter(self) -> SamSegmenter:
        """The segmenter, loaded on first use."""
        return self._load_segmenter()

    def warm_up(self, pointed: Pointed, with_masks: bool) -> None:
        """Load the segmenter where it will be needed: loading is no part of the time of an answer."""
        if pointed.nothing:
            _ = self._proposer()
        elif pointed.points is not None or (with_masks and not pointed.has_masks):
            _ = self.segmenter

    def find(
        self, picture: Picture, pointed: Pointed, with_masks: bool, cache: FeatureCache, texts: Sequence[str] = ()
    ) -> Regions:
        """The regions of a picture.

        Args:
            picture: what is looked at.
            pointed: what the user points at.
            with_masks: whether boxes get masks.
            cache: keeps the picture's embedding and what was found.
            texts: what is asked, for proposers that search for it.

        Raises:
            RegionError: what the user points at makes no sense in this picture.
        """
        found = self._find(picture, pointed, cache, texts)
        if found.size != picture.size:
            raise RegionError(f"the regions belong to a picture of {found.size}, this one has {picture.size}")
        if found.masks is not None or not with_masks or not len(found):
            return found
        from fovea.proposers.sam_prompts import add_masks

        return add_masks(picture, found, self.segmenter, cache, mask_filter=self.grid.mask_filter)

    def _find(self, picture: Picture, pointed: Pointed, cache: FeatureCache, texts: Sequence[str]) -> Regions:
        if pointed.masks is not None:
            return Regions.from_masks(pointed.masks, boxes=pointed.boxes)
        if pointed.boxes is not None:
            return Regions.from_boxes(pointed.boxes, picture.size)
        if pointed.regions is not None:
            return pointed.regions
        if pointed.points is not None:
            from fovea.proposers.sam_prompts import regions_at

            return regions_at(picture, pointed.points, self.segmenter, cache, mask_filter=self.grid.mask_filter)
        proposer = self._proposer()
        if isinstance(proposer, TextProposer):
            return proposer.propose_for(picture, texts, cache)
        return proposer.propose(picture, cache)

    def _proposer(self) -> Proposer | TextProposer:
        """What searches a picture."""
        if self._load_proposer is not None:
            return self._load_proposer()
        from fovea.proposers.sam_grid import SamGrid

        return SamGrid(self.segmenter, self.grid)

"""Where could it be? Proposers offer regions of a picture before anything is scored."""

from __future__ import annotations

from typing import Protocol

from fovea.cache import FeatureCache
from fovea.pictures import Picture
from fovea.regions import Regions

#: What can search a picture for regions, by name: SAM's grid, or all masks of a Mask2Former.
SEARCHES = ("grid", "mask2former")


class Proposer(Protocol):
    """Offers regions of a picture.

    Attributes:
        source: how results name where the regions came from.
    """

    source: str

    def propose(self, picture: Picture, cache: FeatureCache) -> Regions:
        """Offer regions; none at all is an answer."""
        ...

"""Where could it be? Proposers offer regions of a picture before anything is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fovea.cache import FeatureCache
from fovea.pictures import Picture
from fovea.regions import Regions

#: What can search a picture for regions, by name: SAM's grid, all masks of a Mask2Former, or a captioner that says
#: where what is asked for is.
SEARCHES = ("grid", "mask2former", "told")


class Proposer(Protocol):
    """Offers regions of a picture.

    Attributes:
        source: how results name where the regions came from.
    """

    source: str

    def propose(self, picture: Picture, cache: FeatureCache) -> Regions:
        """Offer regions; none at all is an answer."""
        ...


@runtime_checkable
class TextProposer(Protocol):
    """Offers regions of a picture for what is asked.

    Attributes:
        source: how results name where the regions came from.
    """

    source: str

    def propose_for(self, picture: Picture, texts: Sequence[str], cache: FeatureCache) -> Regions:
        """Offer regions for expressions or labels; none at all is an answer."""
        ...

"""Region tokens: a class token for every region, which sees nothing outside of it (specs/iterprime.md, 12).

Source: Yu et al., CVPR 2023, as a baseline; the attention masks are those of Li et al., "Adapting CLIP For Phrase
Localization Without Further Training", 2022.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from fovea.backbones.inner import InnerEncoder
from fovea.cache import FeatureCache
from fovea.marks.direct import Canvas
from fovea.marks.effects import blend
from fovea.marks.styles import MarkOptions
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence
from fovea.scorers.cached import canvas_of
from fovea.scorers.masked_features import grid_inside, unit_rows


@dataclass(frozen=True)
class RegionToken:
    """All regions of a picture in one pass over it."""

    @property
    def key(self) -> Hashable:
        """See :class:`fovea.scorers.masked_features.RegionView`."""
        return "region-token"

    def embed(self, inner: InnerEncoder, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """See :class:`fovea.scorers.masked_features.RegionView`."""
        canvas = canvas_of(inner.encoder, picture, MarkOptions(), cache)
        return unit_rows(inner.inside(canvas.base, grid_inside(regions, inner.grid)))

    def show(self, inner: InnerEncoder, picture: Picture, regions: Regions) -> list[Evidence]:
        """The places that a region's token sees, in their colours, among gray ones."""
        side = inner.encoder.image_size
        canvas = Canvas(picture, (side, side), MarkOptions())
        places = np.arange(side) * inner.grid // side
        seen = grid_inside(regions, inner.grid)[:, places][:, :, places].astype(np.float32)
        return [Evidence("places seen", blend(canvas.base, canvas.gray, seen))]

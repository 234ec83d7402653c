"""GL-CLIP: masked features of the whole picture, mixed with a masked crop (specs/iterprime.md, 12).

Source: Yu et al., "Zero-shot Referring Image Segmentation with Global-Local Context Features", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from fovea.backbones.inner import InnerEncoder
from fovea.cache import FeatureCache
from fovea.marks.direct import Canvas
from fovea.marks.styles import MarkOptions, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence
from fovea.scorers.cached import canvas_of
from fovea.scorers.masked_features import grid_coverage, unit_rows

_LOCAL = parse_style("ov_seg")


@dataclass(frozen=True)
class GlobalLocal:
    """The global view, masked inside of the tower, and the local one, cropped and masked in front of it.

    They are mixed as the tower projects them, before they get unit length.

    Attributes:
        share: of the global view, 0..1; the released program takes 0.85 on RefCOCOg and 0.95 elsewhere.
    """

    share: float = 0.95

    @property
    def key(self) -> Hashable:
        """See :class:`fovea.scorers.masked_features.RegionView`."""
        return ("global-local", self.share)

    def embed(self, inner: InnerEncoder, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """See :class:`fovea.scorers.masked_features.RegionView`."""
        canvas = canvas_of(inner.encoder, picture, _mean_colour(inner), cache)
        whole = inner.masked(canvas.base, grid_coverage(regions, inner.grid))
        crops = inner.encoder.encode_pictures(canvas.draw(regions, _LOCAL), unit=False)
        return unit_rows(self.share * whole + (1 - self.share) * crops)

    def show(self, inner: InnerEncoder, picture: Picture, regions: Regions) -> list[Evidence]:
        """The local view; the global one differs inside of the model only."""
        side = inner.encoder.image_size
        canvas = Canvas(picture, (side, side), _mean_colour(inner))
        return [Evidence("masked crop", canvas.draw(regions, _LOCAL))]


def _mean_colour(inner: InnerEncoder) -> MarkOptions:
    """What the model sees as nothing: normalised, it is zero."""
    red, green, blue = (int(value) for value in np.round(255 * inner.encoder.mean).clip(0, 255))
    return MarkOptions(fill_colour=(red, green, blue))

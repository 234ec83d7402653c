"""Pictures as captioners are asked about them: squashed to a square, so that boxes keep their meaning."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fovea.pictures import Picture


def squashed(picture: Picture, side: int) -> np.ndarray:
    """``(side, side, 3)`` uint8 RGB; the proportions are lost, nothing is cut off (specs/pin.md, 6)."""
    return np.asarray(picture.image.resize((side, side), Image.Resampling.BICUBIC))

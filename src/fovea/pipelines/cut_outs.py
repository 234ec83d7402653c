"""Objects alone: cut out, centred, enlarged, on pure white (specs/alphaclip.md, 8)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fovea.pictures import Picture

#: Side of the square in longer sides of the box.
MARGIN = 1.5

_WHITE = (255, 255, 255)


def cut_out(picture: Picture, mask: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """One object on white.

    Args:
        picture: what it stands in.
        mask: ``(height, width)`` bool, the object.
        box: xyxy pixels around it; its middle becomes the middle of the square.
        side: of the square in pixels.

    Returns:
        ``(side, side, 3)`` uint8 RGB.
    """
    x1, y1, x2, y2 = box
    reach = MARGIN * max(x2 - x1, y2 - y1) / 2
    left, top = round((x1 + x2) / 2 - reach), round((y1 + y2) / 2 - reach)
    width = max(1, round(2 * reach))
    inner = (max(0, left), max(0, top), min(picture.width, left + width), min(picture.height, top + width))
    visible = Image.fromarray(mask[inner[1] : inner[3], inner[0] : inner[2]])
    square = Image.new("RGB", (width, width), _WHITE)
    square.paste(picture.image.crop(inner), (inner[0] - left, inner[1] - top), visible)
    return np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))

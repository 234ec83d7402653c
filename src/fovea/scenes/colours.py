"""Colour words: which one fits a glyph, and how a glyph is painted in one."""

from __future__ import annotations

import colorsys
from collections import Counter

import numpy as np

#: What painting a glyph in a colour word makes of a mid-gray pixel, RGB 0..255.
PAINTS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "orange": (250, 140, 20),
    "yellow": (245, 220, 40),
    "green": (50, 165, 60),
    "blue": (45, 90, 225),
    "purple": (140, 55, 190),
    "pink": (250, 130, 190),
    "brown": (135, 85, 45),
    "gray": (140, 140, 140),
    "black": (45, 45, 45),
}

# A word fits a glyph when this share of its opaque pixels carries it ...
_DOMINANT = 0.62
# ... and no other word takes more than this share.
_SECOND = 0.2


def word_of(red: float, green: float, blue: float) -> str:
    """The colour word of one RGB value (0..255), or ``white``."""
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    hue *= 360
    if value < 0.28:
        return "black"
    if saturation < 0.18:
        return "white" if value > 0.85 else "gray"
    if (hue < 45 or hue > 340) and value < 0.66 and hue > 8:
        return "brown"
    if (hue > 320 or hue < 14) and saturation < 0.55 and value > 0.75:
        return "pink"
    for limit, word in ((13, "red"), (41, "orange"), (68, "yellow"), (165, "green"), (255, "blue"), (290, "purple")):
        if hue < limit:
            return word
    return "pink" if hue < 342 else "red"


def natural_colour(sprite: np.ndarray) -> str | None:
    """The one colour word that surely describes a glyph.

    Args:
        sprite: ``(H, W, 4)`` uint8 RGBA.

    Returns:
        A key of ``PAINTS``, or None where the glyph is many-coloured or white.
    """
    opaque = sprite[sprite[..., 3] > 200][:, :3]
    # A few hundred pixels tell as much as all of them.
    sample = opaque[:: max(1, len(opaque) // 600)]
    ranking = Counter(word_of(*map(float, pixel)) for pixel in sample).most_common(2)
    word, count = ranking[0]
    second = ranking[1][1] if len(ranking) > 1 else 0
    sure = count >= _DOMINANT * len(sample) and second <= _SECOND * len(sample)
    return word if sure and word in PAINTS else None


def paint(sprite: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Paint a glyph in a colour while its light and shade stay.

    Args:
        sprite: ``(H, W, 4)`` uint8 RGBA.
        colour: what it makes of a mid-gray pixel, RGB 0..255.

    Returns:
        A painted copy; the alpha channel is the same.
    """
    rgb = sprite[..., :3].astype(np.float32)
    luminance = rgb @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    # Stretched around the glyph's own mean, so that dark and light glyphs end up equally clearly coloured.
    opaque = sprite[..., 3] > 128
    mean = float(luminance[opaque].mean()) if opaque.any() else 0.5
    shade = np.clip(1 + 0.9 * (luminance - mean), 0.45, 1.35)[..., None]
    painted = np.clip(np.array(colour, np.float32) * shade, 0, 255)
    out = sprite.copy()
    out[..., :3] = (0.88 * painted + 0.12 * rgb + 0.5).astype(np.uint8)
    return out

"""ReCLIP's own ways to show a region, at native resolution with Pillow (specs/fgvp.md, a).

The released FGVP runs show crops (P), shades (B2) and blurs of the box (B4) through these too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fovea.marks.styles import Effect, MarkOptions, MarkStyle


def _rectangle(image: Image.Image, box: np.ndarray) -> Image.Image:
    """A mask of a box: corners truncated and inclusive."""
    mask = Image.new("L", image.size, 0)
    x1, y1, x2, y2 = (int(value) for value in box)
    ImageDraw.Draw(mask).rectangle((x1, y1, x2, y2), fill=255)
    return mask


def reclip_pictures(
    image: Image.Image, boxes: np.ndarray, style: MarkStyle, options: MarkOptions, *, margin: float = 0.0
) -> list[Image.Image]:
    """ReCLIP's three ways to show a region, at native resolution: crop (P), shade (B2) and blur (B4).

    The released FGVP runs use these for P, B2 and B4 as well.

    Args:
        image: RGB.
        boxes: ``(N, 4)`` float32 xyxy pixels.
        style: P, B2 or B4.
        options: how marks look; the spread of the blur is in native pixels here.
        margin: pixels added on every side of crops.

    Returns:
        N pictures; crops are of any size.
    """
    if style.cropped:
        return [image.crop(_widened(box, image.size, margin)) for box in boxes.tolist()]
    if style.effect is Effect.BLUR:
        outside = image.filter(ImageFilter.GaussianBlur(options.blur_sigma))
        return [Image.composite(image, outside, _rectangle(image, box)) for box in boxes]
    tint = (*options.fill_colour, int(options.alpha * 255))
    shaded = []
    for box in boxes:
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        layer.paste(tint, mask=_rectangle(image, box))
        shaded.append(Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB"))
    return shaded


def _widened(box: list[float], size: tuple[int, int], margin: float) -> tuple[float, float, float, float]:
    """A box with a margin inside of the picture. Pillow rounds the corners half to even."""
    x1, y1, x2, y2 = box
    return max(x1 - margin, 0), max(y1 - margin, 0), min(x2 + margin, size[0]), min(y2 + margin, size[1])


def reclip_inputs(
    images: Sequence[Image.Image], size: int, *, mean: np.ndarray, std: np.ndarray, square: bool = True
) -> np.ndarray:
    """CLIP's preprocessing as ReCLIP uses it.

    Args:
        images: N pictures of any size.
        size: side of the model's input.
        mean: ``(3,)`` of the model's pixels on the scale 0..1.
        std: ``(3,)`` likewise.
        square: squash to a square, as released; else the shorter side is scaled and the middle cut out.

    Returns:
        ``(N, 3, size, size)`` float32, normalised.
    """
    if not images:
        return np.zeros((0, 3, size, size), np.float32)
    squares = [
        image.resize((size, size), Image.Resampling.BICUBIC) if square else _centre(image, size) for image in images
    ]
    stacked = np.stack([np.asarray(one, np.float32) for one in squares])
    return ((stacked / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)


def _centre(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    scaled = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC)
    left, top = round((scaled.width - size) / 2), round((scaled.height - size) / 2)
    return scaled.crop((left, top, left + size, top + size))

"""Drawing answers on the picture, readable on any background."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from fovea.errors import DataError
from fovea.pictures import Picture
from fovea.regions import Rle, decode_masks

# Colours of Okabe and Ito, which people with any colour vision can tell apart.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))

# Small pictures are enlarged until text on them can be read.
_LEAST_SIDE = 512

_KINDS = {"": "PNG", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Outline:
    """Something to draw.

    Attributes:
        box: xyxy pixels of the picture.
        mask: its mask, or None to draw the box.
        text: what stands beside it.
    """

    box: tuple[float, float, float, float]
    mask: Rle | None
    text: str


def _rim(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels within ``width`` of a mask's edge, inside and outside."""
    grown = ndimage.binary_dilation(mask, iterations=width)
    return np.asarray(grown & ~ndimage.binary_erosion(mask, iterations=width))


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)) > 127


def _draw_mask(canvas: Image.Image, mask: np.ndarray, colour: tuple[int, int, int], width: int) -> Image.Image:
    """Tint a mask and draw its edge in its colour between two dark lines."""
    pixels = np.asarray(canvas).astype(np.float32)
    pixels[mask] = 0.7 * pixels[mask] + 0.3 * np.array(colour, np.float32)
    pixels[_rim(mask, width + max(1, width // 2))] = 0
    pixels[_rim(mask, width)] = colour
    return Image.fromarray(pixels.astype(np.uint8))


def _draw_box(canvas: Image.Image, box: Sequence[float], colour: tuple[int, int, int], width: int) -> None:
    pen = ImageDraw.Draw(canvas)
    for grow, ink, line in ((width, (0, 0, 0), 3 * width), (0, colour, width)):
        pen.rectangle((box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow), outline=ink, width=line)


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """One line of text, or as much of its beginning as fits into some pixels, with dots behind it."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    kept = bisect_right(range(len(text)), width, key=lambda count: ceil(font.getlength(text[:count] + "...")))
    return text[: max(0, kept - 1)] + "..."


def _write(canvas: Image.Image, box: Sequence[float], text: str, colour: tuple[int, int, int], size: int) -> None:
    """Write beside a box, on a dark plate, within the picture."""
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    text = _shortened(text, font, canvas.width - size // 2)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + size // 2, bottom - top + size // 2
    x = min(max(0.0, box[0]), max(0.0, canvas.width - width))
    y = box[1] - height - 2 if box[1] - height - 2 >= 0 else max(0, min(box[3] + 2, canvas.height - height))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=(0, 0, 0))
    pen.text((x + size // 4 - left, y + size // 4 - top), text, fill=colour, font=font)


def draw_overlay(picture: Picture, outlines: Sequence[Outline]) -> Image.Image:
    """Draw outlines on a copy of the picture.

    Args:
        picture: what was looked at; small ones are enlarged.
        outlines: what to draw, in this order.

    Returns:
        An RGB image.
    """
    scale = max(1, -(-_LEAST_SIDE // max(picture.size)))
    size = (picture.width * scale, picture.height * scale)
    canvas = picture.image.resize(size, Image.Resampling.BICUBIC) if scale > 1 else picture.image.copy()
    width, letters = max(1, max(size) // 350), max(12, min(max(size) // 36, min(size) // 4))
    for index, outline in enumerate(outlines):
        colour = _COLOURS[index % len(_COLOURS)]
        if outline.mask is not None:
            canvas = _draw_mask(canvas, _enlarged(decode_masks([outline.mask])[0], size), colour, width)
        else:
            _draw_box(canvas, [value * scale for value in outline.box], colour, width)
    for index, outline in enumerate(outlines):
        box = [value * scale for value in outline.box]
        _write(canvas, box, outline.text, _COLOURS[index % len(_COLOURS)], letters)
    return canvas


def to_bytes(image: Image.Image, suffix: str = ".png") -> bytes:
    """Encode an image for a file name's suffix.

    Args:
        image: what to encode.
        suffix: ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``; none at all, as in ``/dev/stdout``, means PNG.

    Raises:
        DataError: the suffix is another, or its format cannot hold an image this large.
    """
    kind = _KINDS.get(suffix.lower())
    if kind is None:
        raise DataError(f"pictures cannot be written as {suffix}", "name the file .png, .jpg or .webp")
    stream = io.BytesIO()
    try:
        image.save(stream, kind)
    except (OSError, ValueError) as error:
        raise DataError(f"{kind} cannot hold {image.width} x {image.height} pixels", "name the file .png") from error
    return stream.getvalue()

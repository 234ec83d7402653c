"""Drawing a layout: pixels and visible masks, for the whole scene or for any window of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from fovea.scenes.backgrounds import background
from fovea.scenes.glyphs import CELL, sprite
from fovea.scenes.layout import Layout, Placement

#: The whole scene as a window: left, top and side, in shares of the scene's side.
WHOLE = (0.0, 0.0, 1.0)

Window = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn layout.

    Attributes:
        pixels: ``(S, S, 3)`` uint8 RGB.
        masks: ``(N, S, S)`` bool, the visible part of every placement, in the layout's order.
    """

    pixels: np.ndarray
    masks: np.ndarray


def _stamp(placement: Placement, size: int, window: Window) -> tuple[np.ndarray, int, int] | None:
    """The rotated and scaled sprite, and where it goes.

    Returns:
        ``(h, w, 4)`` uint8 with premultiplied colours, cut to the frame, and the column and row of its corner;
        None when it lies outside of the window.
    """
    left, top, side = window
    scale = size / side
    length = placement.extent * scale
    levels = sprite(placement.glyph, placement.painted)
    # The coarsest level that is not enlarged: bilinear sampling then skips no pixel.
    level = 2 if length <= CELL / 4 else 1 if length <= CELL / 2 else 0
    source = levels[level]
    x, y = (placement.x - left) * scale, (placement.y - top) * scale
    radians = math.radians(placement.angle)
    cos, sin = math.cos(radians), math.sin(radians)
    reach = length / 2 * (abs(cos) + abs(sin)) + 1
    x0, y0 = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
    x1, y1 = min(size, math.ceil(x + reach)), min(size, math.ceil(y + reach))
    if x1 <= x0 or y1 <= y0:
        return None
    zoom = source.width / length
    a, b, d, e = cos * zoom, -sin * zoom, sin * zoom, cos * zoom
    if placement.flipped:
        a, b = -a, -b
    middle = source.width / 2
    # Pillow maps output to source pixels; its coordinates are those of pixel corners.
    matrix = (a, b, middle - a * (x - x0) - b * (y - y0), d, e, middle - d * (x - x0) - e * (y - y0))
    stamp = source.transform((x1 - x0, y1 - y0), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(stamp), x0, y0


def _paste(canvas: np.ndarray, stamp: np.ndarray, x: int, y: int) -> None:
    """Lay a premultiplied stamp over the canvas, in place."""
    target = canvas[y : y + stamp.shape[0], x : x + stamp.shape[1]]
    rest = 255 - stamp[..., 3:].astype(np.uint16)
    np.copyto(target, stamp[..., :3] + ((target * rest + 127) // 255).astype(np.uint8))


def draw(layout: Layout, size: int, window: Window = WHOLE) -> Drawing:
    """Draw a layout.

    Args:
        layout: what to draw.
        size: side of the square picture in pixels.
        window: the part of the scene to show, ``(left, top, side)`` in shares of the scene's side.

    Returns:
        The picture and the visible mask of every placement (all False outside of the window).
    """
    canvas = background(layout.background_seed, size, window)
    masks = np.zeros((len(layout.placements), size, size), bool)
    for index, placement in enumerate(layout.placements):
        if index == layout.focus:
            radius = layout.defocus * size / window[2]
            canvas = np.array(Image.fromarray(canvas).filter(ImageFilter.GaussianBlur(radius)))
        stamped = _stamp(placement, size, window)
        if stamped is None:
            continue
        stamp, x, y = stamped
        _paste(canvas, stamp, x, y)
        rows, columns = slice(y, y + stamp.shape[0]), slice(x, x + stamp.shape[1])
        solid = stamp[..., 3] > 127
        masks[:index, rows, columns] &= ~solid
        masks[index, rows, columns] = solid
    return Drawing(canvas, masks)

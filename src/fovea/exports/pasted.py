"""A look at pasted pictures: many on one sheet, with boxes and what is asked for."""

from __future__ import annotations

from math import ceil, sqrt

from PIL import Image

from fovea.exports.overlay import Outline, draw_overlay
from fovea.pasting.pictures import Pasting
from fovea.pictures import open_picture


def sheet(pasting: Pasting, numbers: range, counts: tuple[int, int]) -> Image.Image:
    """Pictures side by side, row by row.

    Args:
        pasting: makes them.
        numbers: which, at least one.
        counts: the fewest and the most things of a picture.

    Returns:
        An RGB image.
    """
    tiles = [_tile(pasting, number, counts) for number in numbers]
    columns = ceil(sqrt(len(tiles)))
    width, height = tiles[0].size
    canvas = Image.new("RGB", (columns * width, ceil(len(tiles) / columns) * height))
    for place, tile in enumerate(tiles):
        canvas.paste(tile, (place % columns * width, place // columns * height))
    return canvas


def _tile(pasting: Pasting, number: int, counts: tuple[int, int]) -> Image.Image:
    pasted = pasting.picture(number, counts)
    outlines = []
    for name, (left, top, right, bottom) in zip(pasted.names, pasted.cells, strict=True):
        x1, y1, x2, y2 = map(pasting.edge, (left, top, right + 1, bottom + 1))
        outlines.append(Outline((x1, y1, x2, y2), None, name))
    return draw_overlay(open_picture(pasted.pixels), outlines)

"""Alpha maps from whatever says where to look: masks of any type, run lengths, polygons, boxes, points, strokes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fovea.errors import RegionError
from fovea.marks.coverage import Size, box_coverage
from fovea.outlines import mask_from_coco
from fovea.regions import Regions, decode_masks

#: What :func:`alpha_map` reads.
AlphaSource = np.ndarray | Image.Image | Mapping[str, Any] | None

# In shares of the picture's shorter side: a point is meant for something as large as FGVP's circle, a stroke is drawn
# inside of what it is meant for.
_POINT_RADIUS, _STROKE_RADIUS = 0.06, 0.02

_KNOWN = '{"box": ...}, {"points": ...}, {"strokes": ...}, {"polygons": ...} or {"size": ..., "counts": ...}'


def alpha_map(source: AlphaSource, size: Size) -> np.ndarray:
    """How much every pixel is looked at.

    Args:
        source: None for the whole picture; a mask ``(H, W)`` of booleans, of the numbers 0 and 1 or 0 and 255, or soft,
            of floats from 0 to 1; a Pillow image of one; or one of these, in pixels of the upright picture::

                {"size": [H, W], "counts": ...}               # COCO's run lengths, compressed or not
                {"polygons": [[x, y, x, y, ...], ...]}        # COCO's outlines
                {"box": [x1, y1, x2, y2]}
                {"points": [[x, y], ...], "radius": r}        # discs; the radius may be left out
                {"strokes": [[[x, y], ...], ...], "radius": r}

        size: width and height of the upright picture.

    Returns:
        ``(H, W)`` float32 in 0..1.

    Raises:
        RegionError: it makes no sense, or marks nothing.
    """
    if source is None:
        return np.ones(size[::-1], np.float32)
    if isinstance(source, Image.Image):
        if source.mode not in ("1", "L"):
            raise RegionError(f"a picture of mode {source.mode} is no mask", "convert it to gray: mode L")
        source = np.asarray(source)
    alpha = _from_mapping(source, size) if isinstance(source, Mapping) else _from_mask(source)
    if alpha.shape != size[::-1]:
        raise RegionError(
            f"the mask has the shape {alpha.shape}, the picture {size[1]} rows and {size[0]} columns",
            "give one plane of the size of the upright picture",
        )
    if not alpha.any():
        raise RegionError("the mask marks nothing", "give None to mean the whole picture")
    return alpha


def _from_mask(mask: Any) -> np.ndarray:
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise RegionError("this is no mask", "give an array (H, W)") from error
    if array.ndim != 2 or not array.size:
        raise RegionError(f"a mask of shape {array.shape} is not one plane", "give an array (H, W)")
    if array.dtype == bool:
        return array.astype(np.float32)
    if array.dtype.kind == "f":
        # "not" also refuses what is not a number.
        if not (array.min() >= 0 and array.max() <= 1):
            raise RegionError(
                f"a soft mask holds values from {array.min():g} to {array.max():g}",
                "scale them to 0..1, such as by dividing by 255",
            )
        return array.astype(np.float32)
    top = array.max() if array.dtype.kind in "iu" else None
    if top not in (0, 1, 255) or not np.isin(array, (0, top)).all():
        raise RegionError(
            f"the mask is neither of two values nor soft (type {array.dtype})",
            "give booleans, 0 and 255, or floats from 0 to 1",
        )
    return (array > 0).astype(np.float32)


def _from_mapping(source: Mapping[str, Any], size: Size) -> np.ndarray:
    if "counts" in source:
        return _decoded(dict(source), size)
    kinds: dict[str, Callable[[Any], np.ndarray]] = {
        "polygons": lambda value: _decoded(value, size),
        "box": lambda value: _from_box(value, size),
        "points": lambda value: _from_strokes([[point] for point in value], size, _radius(source, size, _POINT_RADIUS)),
        "strokes": lambda value: _from_strokes(value, size, _radius(source, size, _STROKE_RADIUS)),
    }
    named = [kind for kind in kinds if kind in source]
    if len(named) != 1 or source.keys() - {*named, "radius"}:
        raise RegionError(f"a place cannot be read from {', '.join(map(repr, source)) or 'nothing'}", f"give {_KNOWN}")
    (kind,) = named
    try:
        return kinds[kind](source[kind])
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionError(f"the {kind} are no numbers in the right form", f"give {_KNOWN}") from error


def _decoded(segmentation: Any, size: Size) -> np.ndarray:
    rle = mask_from_coco(segmentation, size)
    if list(rle["size"]) != [size[1], size[0]]:
        # Checked before it is decoded: run lengths may claim any size.
        raise RegionError(
            f"the mask has {rle['size'][1]} x {rle['size'][0]} pixels, the picture {size[0]} x {size[1]}",
            "masks must have the size of the upright picture",
        )
    return decode_masks([rle])[0].astype(np.float32)


def _from_box(box: Any, size: Size) -> np.ndarray:
    return np.asarray(box_coverage(Regions.from_boxes([box], size).boxes, size)[0])


def _radius(source: Mapping[str, Any], size: Size, usual: float) -> float:
    radius = float(source.get("radius", max(1.0, usual * min(size))))
    if not 0 < radius <= max(size):
        raise RegionError(f"{radius:g} is no radius", "give pixels, more than 0 and not more than the picture has")
    return radius


def _from_strokes(strokes: Any, size: Size, radius: float) -> np.ndarray:
    """Lines through points, with round ends; a stroke of one point is a disc."""
    drawn = Image.new("L", size)
    draw = ImageDraw.Draw(drawn)
    discs = np.zeros(size[::-1], bool)
    for stroke in strokes:
        points = np.asarray(stroke, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
            raise ValueError("a stroke is no list of points")
        if (points < 0).any() or (points > np.array(size)).any():
            raise RegionError(f"a point lies outside of the picture of {size[0]} x {size[1]} pixels")
        if len(points) > 1:
            # Pixels of Pillow have their centres at whole numbers, ours half a pixel further.
            draw.line((points - 0.5).ravel().tolist(), 255, round(2 * radius))
        for x, y in points.tolist():
            _add_disc(discs, x, y, radius)
    return ((np.asarray(drawn) > 0) | discs).astype(np.float32)


def _add_disc(covered: np.ndarray, x: float, y: float, radius: float) -> None:
    top, left = (max(0, int(centre - radius)) for centre in (y, x))
    part = covered[top : int(y + radius) + 1, left : int(x + radius) + 1]
    down, across = (np.arange(count) + 0.5 + start for count, start in zip(part.shape, (top, left), strict=True))
    part |= np.hypot((down - y)[:, None], across - x) <= radius

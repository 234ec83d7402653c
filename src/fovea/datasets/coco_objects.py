"""COCO's objects cut out one by one, to be named among its categories (specs/alphaclip.md, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.datasets.annotations import (
    AnnotatedPicture,
    Annotation,
    find_annotations,
    picture_path,
    read_annotations,
    split_name,
)
from fovea.datasets.refcoco import boxes_from_xywh
from fovea.errors import DataError, RegionError
from fovea.evaluation.named_pictures import NamedClass, NamedPicture, NamedRegions, NamingBenchmark
from fovea.language.names import readable
from fovea.outlines import mask_from_coco
from fovea.pictures import MAX_PIXELS, open_picture
from fovea.regions import Regions

#: What stands around a thing: what the photograph shows, or white.
Background = Literal["kept", "white"]

# Side of what is cut out, in longer sides of the box.
_CROP = 1.5

_WHITE = 255

# Sentence around a name, as the released program has it.
_TEMPLATE = "a photo of a {}."


def known_background(name: str) -> Background:
    """A background by name.

    Raises:
        DataError: there is no such background.
    """
    known: tuple[Background, ...] = get_args(Background)
    return chosen(name, known, DataError(f"there is no background called {name!r}", f"known are {', '.join(known)}"))


def read_coco_objects(
    directory: Path, split: str | None = None, limit: int | None = None, background: Background = "kept"
) -> NamingBenchmark:
    """Read a split: one picture for every object, the square around its box, half as large again.

    Args:
        directory: as for :func:`fovea.datasets.coco.read_coco`.
        split: such as ``val2017`` or ``val``; needed where there are several files.
        limit: from how many pictures at most.
        background: what stands around an object; ``white`` needs masks. Beyond the picture's rim it is white always.

    Raises:
        DataError: a file is missing or broken.
    """
    path = find_annotations(directory, "instances", split)
    file = read_annotations(path)
    places = {number: place for place, number in enumerate(file.categories)}
    shown = [picture for picture in file.pictures if picture.annotations][:limit]
    objects = [
        NamedPicture(
            str(one.id), partial(_open, directory, picture, one, places[one.category], background)
        )
        for picture in shown
        for one in picture.annotations
    ]  # fmt: skip
    known = split_name(path) == "val" and limit is None
    return NamingBenchmark(
        f"coco-names, background {background}",
        objects,
        tuple(NamedClass(category.name, readable(category.name)) for category in file.categories.values()),
        f"{path.name} {file.fingerprint}",
        _TEMPLATE,
        f"coco-names {background}" if known else "",
    )


def _open(
    directory: Path, described: AnnotatedPicture, one: Annotation, category: int, background: Background
) -> NamedRegions:
    picture = open_picture(picture_path(directory, described.file_name))
    if picture.size != described.size:
        raise RegionError(f"picture {described.id} has other sides than its annotations say")
    box = boxes_from_xywh([one.box], picture.size)[0]
    left, top, side = _square(box)
    if side * side > MAX_PIXELS:
        raise RegionError(f"object {one.id} is too long for a square picture of it")
    pixels = _window(picture.pixels, left, top, side, _WHITE)
    if not one.segmentation:
        if background == "white":
            raise RegionError(f"object {one.id} has no mask, and without one nothing can be white around it")
        boxes = np.clip(box - (left, top, left, top), 0, side)
        return NamedRegions(open_picture(pixels), Regions(boxes, (side, side), "ground-truth"), (category,))
    # Regions refuse a mask of other sides than the picture's.
    whole = Regions(box[None], picture.size)
    (mask,) = whole.with_masks([mask_from_coco(one.segmentation, picture.size)]).dense_masks()
    kept = _window(mask, left, top, side, False)
    if background == "white":
        pixels = np.where(kept[..., None], pixels, np.uint8(_WHITE))
    return NamedRegions(open_picture(pixels), Regions.from_masks(kept[None], "ground-truth"), (category,))


def _square(box: Sequence[float] | np.ndarray) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of the square around a box."""
    x1, y1, x2, y2 = (float(value) for value in box)
    side = max(1, round(_CROP * max(x2 - x1, y2 - y1)))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def _window(plane: np.ndarray, left: int, top: int, side: int, beyond: int) -> np.ndarray:
    """A square of ``(H, W, ...)``, filled up where it reaches beyond."""
    window = np.full((side, side, *plane.shape[2:]), beyond, plane.dtype)
    x1, y1 = max(0, left), max(0, top)
    inside = plane[y1 : top + side, x1 : left + side]
    window[y1 - top : y1 - top + inside.shape[0], x1 - left : x1 - left + inside.shape[1]] = inside
    return window

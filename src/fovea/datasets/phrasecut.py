"""PhraseCut as published: phrases whose region is the union of all things that they mean (specs/iterprime.md, 7).

``refer_<split>.json`` holds the phrases with polygons, ``image_data_split3000.json`` the sizes of the pictures, which
lie in ``images``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fovea.datasets.pictures_on_disk import find_picture, picture_size
from fovea.datasets.refcoco import boxes_from_xywh
from fovea.datasets.subsets import is_unseen
from fovea.errors import DataError
from fovea.evaluation.examples import Example, LazyExamples, Query
from fovea.files import content_hash
from fovea.proposers.given import read_json
from fovea.regions import Regions, Rle, encode_masks, mask_bounds

_SIZES = "image_data_split3000.json"
_FOLDERS = ("images", ".")
_ERRORS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def _query(task: dict[str, Any], place: int) -> Query:
    kind = "unseen" if is_unseen(task["phrase_structure"]["name"]) else "seen"
    return Query(task["phrase"], kind, (place,))


def _truth(tasks: list[dict[str, Any]], size: tuple[int, int]) -> Regions:
    """One region per phrase, with the box of its mask, or of its instances where the mask is empty."""
    boxes = np.zeros((len(tasks), 4), np.float32)
    masks: list[Rle] = []
    for row, task in enumerate(tasks):
        mask = draw_union([polygon for instance in task["Polygons"] for polygon in instance], size)
        if mask.any():
            boxes[row] = mask_bounds(mask[None])[0]
        else:
            corners = boxes_from_xywh(task["instance_boxes"], size)
            boxes[row] = [*corners[:, :2].min(0), *corners[:, 2:].max(0)]
        masks += encode_masks(mask[None])
    return Regions(boxes, size, "ground-truth", tuple(masks))


def draw_union(polygons: Iterable[Any], size: tuple[int, int]) -> np.ndarray:
    """The pixels that any polygon covers, as PhraseCut's own tools draw them.

    They cut coordinates down to whole pixels and count the outline in, so a polygon is up to a pixel larger than COCO's
    drawing of it. Polygons of fewer than two corners are left out.

    Args:
        polygons: each a list of ``[x, y]`` in pixels.
        size: width and height of the picture.

    Returns:
        ``(H, W)`` bool.

    Raises:
        ValueError: a coordinate is no number.
    """
    canvas = Image.new("L", size, 0)
    pen = ImageDraw.Draw(canvas)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(corners).all():
            raise ValueError("a polygon has a corner that is not a number")
        if len(corners) >= 2:
            # What lies far outside is moved closer: Pillow counts in 32 bits.
            near = corners.clip(-np.array(size), 2 * np.array(size)).astype(int)
            pen.polygon([(int(x), int(y)) for x, y in near], outline=1, fill=1)
    return np.asarray(canvas) > 0


def read_phrasecut(root: Path, split: str, limit: int | None = None) -> LazyExamples:
    """Read a split.

    Args:
        root: with ``refer_<split>.json``, ``image_data_split3000.json`` and ``images``.
        split: ``train``, ``val``, ``test`` or ``miniv``.
        limit: how many pictures to read at most.

    Returns:
        One example per picture, in the order of their first phrase. Every phrase has a region of its own: the union of
        its instances. Its kind is ``unseen`` where COCO has no category of its name, else ``seen``.

    Raises:
        DataError: a file is missing or broken; later, when a picture is asked for that is missing or whose polygons
            are broken.
    """
    path = root / f"refer_{Path(split).name}.json"
    if not path.is_file():
        there = ", ".join(found.stem[len("refer_") :] for found in sorted(root.glob("refer_*.json"))) or "none"
        raise DataError(f"{root} holds no {path.name}", f"there are the splits: {there}")
    tasks: dict[int, list[dict[str, Any]]] = {}
    try:
        for task in read_json(path):
            image = _checked(task)["image_id"]
            if image in tasks or limit is None or len(tasks) < limit:
                tasks.setdefault(image, []).append(task)
    except _ERRORS as error:
        raise DataError(f"{path} is broken: {error!r}", "get the file from its publisher again") from error
    try:
        sizes = {row["image_id"]: picture_size(row) for row in read_json(root / _SIZES) if row["image_id"] in tasks}
        lacking = next((image for image in tasks if image not in sizes), None)
    except _ERRORS as error:
        raise DataError(f"{root / _SIZES} is broken: {error!r}", "get the file from its publisher again") from error
    if lacking is not None:
        raise DataError(f"{root / _SIZES} does not have the size of picture {lacking}", "is it PhraseCut's own file?")
    ids = tuple(tasks)

    def make(index: int) -> Example:
        return _example(root, ids[index], tasks[ids[index]], sizes[ids[index]])

    return LazyExamples(len(ids), make, f"{path.stem} {content_hash(path)}")


def _example(root: Path, image: int, tasks: list[dict[str, Any]], size: tuple[int, int]) -> Example:
    """One picture; its masks are drawn here."""
    try:
        truth = _truth(tasks, size)
    except _ERRORS as error:
        raise DataError(f"the polygons of picture {image} are broken: {error!r}", "get the file again") from error
    queries = tuple(_query(task, place) for place, task in enumerate(tasks))
    return Example(str(image), find_picture(root, f"{image}.jpg", _FOLDERS), truth, queries)


def _checked(task: Any) -> dict[str, Any]:
    """A task with what its query needs; its polygons are read later."""
    name = task["phrase_structure"]["name"]
    if not (isinstance(task["image_id"], int) and isinstance(task["phrase"], str) and isinstance(name, str)):
        raise TypeError("an id or a text has another type")
    checked: dict[str, Any] = task
    return checked

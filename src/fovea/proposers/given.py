"""Regions from files: boxes in the formats that people have, and masks as pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fovea.errors import DataError, RegionError
from fovea.outlines import mask_from_coco
from fovea.pictures import Picture, open_picture
from fovea.regions import Regions


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read", "check the path") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{os.fspath(path)} is no JSON: {error}") from error


def regions_from_file(path: str | os.PathLike[str], picture: Picture, *, image_id: str | None = None) -> Regions:
    """Read the regions of one picture from a JSON file.

    Four forms are known: fovea's own regions document; a list of ``[x1, y1, x2, y2]``; detections as ReCLIP publishes
    them, ``{"image_id": [[x, y, w, h], ...]}`` or ``[{"image_id": n, "box": [x, y, w, h]}, ...]``; and COCO's
    ``{"images": [...], "annotations": [...]}`` with boxes and, where every annotation has one, masks.

    Args:
        path: the file.
        picture: the picture they belong to.
        image_id: which picture of the file it is; by default what its own file name says: COCO is asked for the name,
            detections for the name without its ending or for the number at its end.

    Returns:
        The regions, with source ``file``; those of ``ground-truth`` where a regions document says so.

    Raises:
        DataError: the form is unknown or the picture is not in it.
        RegionError: a box or mask makes no sense, or belongs to a picture of another size.
    """
    data = read_json(path)
    try:
        if isinstance(data, dict) and "boxes" in data:
            regions = Regions.from_json(data)
            _check_size(regions.size, picture)
            return regions
        if isinstance(data, dict) and "annotations" in data:
            return _from_coco(data, picture, image_id)
        if isinstance(data, dict) or (isinstance(data, list) and data and isinstance(data[0], dict)):
            return _from_xywh(_detections(data, _names(picture, image_id)), picture)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{os.fspath(path)} holds boxes in no known form ({type(error).__name__}: {error})",
            "a list of [x1, y1, x2, y2] is the simplest",
        ) from error
    return Regions.from_boxes(data, picture.size, "file")


def _check_size(size: tuple[int, int], picture: Picture) -> None:
    if size != picture.size:
        raise RegionError(
            f"the regions belong to a picture of {size[0]} x {size[1]} pixels, "
            f"this one has {picture.width} x {picture.height}"
        )


def _names(picture: Picture, image_id: str | None) -> list[str]:
    """What detections may call a picture: COCO's names end in a padded number."""
    if image_id is not None:
        return [image_id]
    stem = Path(picture.path or "").stem
    tail = stem.rsplit("_", 1)[-1]
    return [stem, str(int(tail))] if tail.isdecimal() else [stem]


def detections_by_picture(data: Any) -> dict[str, Any]:
    """The ``[x, y, w, h]`` rows of every picture in ReCLIP's two forms: a mapping, or a list of single boxes."""
    if not isinstance(data, list):
        return dict(data)
    rows: dict[str, list[Any]] = {}
    for row in data:
        rows.setdefault(str(row["image_id"]), []).append(row["box"])
    return rows


def _detections(data: Any, names: list[str]) -> Any:
    """The ``[x, y, w, h]`` rows of one picture."""
    data = detections_by_picture(data)
    for name in names:
        if name in data:
            return data[name]
    raise DataError(f"the detections hold no boxes for a picture {names[-1]!r}", "is it the right file?")


def _from_xywh(rows: Any, picture: Picture) -> Regions:
    boxes = np.array(rows, np.float32)
    if boxes.size == 0:
        return Regions.empty(picture.size, "file")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have the shape {boxes.shape}, not (N, 4)")
    boxes[:, 2:] += boxes[:, :2]
    return Regions.from_boxes(boxes, picture.size, "file")


def _from_coco(data: dict[str, Any], picture: Picture, image_id: str | None) -> Regions:
    name = Path(picture.path or "").name
    for image in data["images"]:
        if str(image["id"]) == image_id or (image_id is None and Path(str(image["file_name"])).name == name):
            break
    else:
        raise DataError(f"the annotations do not name a picture {image_id or name!r}", "the file name must be the same")
    _check_size((int(image.get("width", picture.width)), int(image.get("height", picture.height))), picture)
    rows = [row for row in data["annotations"] if row["image_id"] == image["id"]]
    regions = _from_xywh([row["bbox"] for row in rows], picture)
    if rows and all(row.get("segmentation") for row in rows):
        return regions.with_masks([mask_from_coco(row["segmentation"], picture.size) for row in rows])
    return regions


def mask_from_file(path: str | os.PathLike[str], picture: Picture) -> Regions:
    """Read one region from a picture of its mask: everything brighter than mid-gray.

    Raises:
        PictureError: the file is no picture.
        RegionError: its size differs from the picture's, or nothing is bright.
    """
    mask = open_picture(path)
    if mask.size != picture.size:
        raise RegionError(
            f"the mask has {mask.width} x {mask.height} pixels, the picture {picture.width} x {picture.height}"
        )
    dense = np.asarray(mask.image.convert("L")) > 127
    if not dense.any():
        raise RegionError(f"the mask {os.fspath(path)} is empty", "paint the region white on black")
    return Regions.from_masks(dense[None])

"""Regions from files: boxes in the formats that people have, and masks as pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fovea.errors import DataError, RegionError
from fovea.pictures import Picture, open_picture
from fovea.regions import Regions, rle_from_json


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read", "check the path") from error
    except ValueError as error:
        raise DataError(f"{os.fspath(path)} is no JSON: {error}") from error


def regions_from_file(path: str | os.PathLike[str], picture: Picture, *, image_id: str | None = None) -> Regions:
    """Read the regions of one picture from a JSON file.

    Four forms are known: fovea's own regions document; a list of ``[x1, y1, x2, y2]``; detections as ReCLIP publishes
    them, ``{"image_id": [[x, y, w, h], ...]}`` or ``[{"image_id": n, "box": [x, y, w, h]}, ...]``; and COCO's
    ``{"images": [...], "annotations": [...]}`` with boxes and masks.

    Args:
        path: the file.
        picture: the picture they belong to.
        image_id: which picture of the file it is; by default the number or the name that its own file name holds.

    Returns:
        The regions, with source ``file``; those of ``ground-truth`` where a regions document says so.

    Raises:
        DataError: the form is unknown or the picture is not in it.
        RegionError: a box or mask makes no sense.
    """
    data = read_json(path)
    if isinstance(data, dict) and "boxes" in data:
        regions = Regions.from_json(data)
        if regions.size != picture.size:
            raise RegionError(
                f"the regions belong to a picture of {regions.size[0]} x {regions.size[1]} pixels, "
                f"this one has {picture.width} x {picture.height}"
            )
        return regions
    if isinstance(data, dict) and "annotations" in data:
        return _from_coco(data, picture)
    if isinstance(data, dict):
        return _from_xywh(_entry(data, _image_id(picture, image_id), path), picture)
    if isinstance(data, list) and data and isinstance(data[0], dict):
        wanted = _image_id(picture, image_id)
        return _from_xywh([row["box"] for row in data if str(row.get("image_id")) == wanted], picture)
    return Regions.from_boxes(data, picture.size, "file")


def _image_id(picture: Picture, image_id: str | None) -> str:
    """The identity of a picture: COCO's names end in a padded number."""
    if image_id is not None:
        return image_id
    stem = Path(picture.path or "").stem
    tail = stem.rsplit("_", 1)[-1]
    return str(int(tail)) if tail.isdigit() else stem


def _entry(data: dict[str, Any], wanted: str, path: str | os.PathLike[str]) -> Any:
    if wanted not in data:
        raise DataError(f"{os.fspath(path)} holds no boxes for picture {wanted!r}", "is it the right file?")
    return data[wanted]


def _from_xywh(rows: Any, picture: Picture) -> Regions:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Regions.from_boxes(boxes, picture.size, "file")


def _from_coco(data: dict[str, Any], picture: Picture) -> Regions:
    name = Path(picture.path or "").name
    matches = [image for image in data.get("images", ()) if Path(str(image.get("file_name", ""))).name == name]
    if not matches:
        raise DataError(f"the annotations do not name a picture {name!r}", "the file name must be the same")
    rows = [row for row in data["annotations"] if row["image_id"] == matches[0]["id"]]
    regions = _from_xywh([row["bbox"] for row in rows], picture)
    segmentations = [row.get("segmentation") for row in rows]
    if rows and all(isinstance(one, dict) for one in segmentations):
        return regions.with_masks([rle_from_json(one) for one in segmentations])  # type: ignore[arg-type]
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

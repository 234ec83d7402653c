"""RefCOCO, RefCOCO+ and RefCOCOg as ReCLIP publishes them: JSON lines, detections beside (specs/fgvp.md, g)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fovea.datasets.pictures_on_disk import find_picture
from fovea.errors import DataError
from fovea.evaluation.examples import Example, Query
from fovea.proposers.given import detections_by_picture
from fovea.regions import Regions

# Folders that hold the pictures, in the order they are looked for.
_IMAGE_FOLDERS = ("train2014", "images", ".")


#: Rows ``[x, y, width, height]`` in pixels, by the id of their picture.
Detections = dict[str, list[list[float]]]


def picture_name(file_name: str) -> str:
    """Where a picture lies: COCO's names carry the number of the expression behind the last underscore."""
    if "coco" in file_name.lower():
        return "_".join(file_name.split("_")[:-1]) + ".jpg"
    return file_name


def read_refcoco(directory: Path, split: str | None = None, limit: int | None = None) -> list[Example]:
    """Read a split.

    Args:
        directory: with ``SPLIT.jsonl`` files, pictures in ``train2014``, ``images`` or beside them, and maybe
            detections in a JSON file whose name holds ``dets``.
        split: name of the ``.jsonl`` file without its ending; needed where there are several.
        limit: how many pictures to read at most.

    Returns:
        One example per picture with all its expressions. Its detections are None where there is no such file.

    Raises:
        DataError: a file is missing or broken.
    """
    path = _split_file(directory, split)
    lines, detections = _lines(path), read_detections(directory, path.stem)
    grouped: dict[str, list[dict[str, Any]]] = {}
    try:
        for line in lines:
            grouped.setdefault(picture_name(line["file_name"]), []).append(line)
        return [_example(directory, name, grouped[name], detections) for name in [*grouped][:limit]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"the expressions in {directory} are broken: {error!r}", "use ReCLIP's JSON lines") from error


def expression_files(directory: Path, split: str | None) -> list[Path]:
    """The files that :func:`read_refcoco` reads: expressions, and detections where there are any."""
    path = _split_file(directory, split)
    found = _detections_file(directory, path.stem)
    return [path] if found is None else [path, found]


def _split_file(directory: Path, split: str | None) -> Path:
    found = sorted(directory.glob("*.jsonl"))
    if split is not None:
        found = [path for path in found if path.stem == split]
    if len(found) == 1:
        return found[0]
    known = ", ".join(path.stem for path in sorted(directory.glob("*.jsonl"))) or "none"
    wanted = "no .jsonl file of expressions" if not found else "several splits"
    raise DataError(f"{directory} holds {wanted}", f"name one with --split; there are: {known}")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", "use ReCLIP's JSON lines") from error


def read_detections(directory: Path, split: str) -> Detections | None:
    """The boxes of ReCLIP's detections, where a directory has a JSON file whose name holds ``det``.

    Args:
        directory: ReCLIP's has one file per data set, all in one folder.
        split: such as ``refcoco+_val``: the file that begins with its data set is the right one of several.

    Raises:
        DataError: the file holds something else, or it cannot be told which of several is meant.
    """
    path = _detections_file(directory, split)
    if path is None:
        return None
    try:
        boxes = detections_by_picture(json.loads(path.read_text(encoding="utf-8")))
        return {key: [[float(value) for value in box] for box in rows] for key, rows in boxes.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no detections: {error!r}", "use ReCLIP's format, x, y, w, h") from error


def _detections_file(directory: Path, split: str) -> Path | None:
    found = sorted(path for path in directory.glob("*.json") if "det" in path.stem.lower())
    own = [path for path in found if path.stem.startswith(split.rpartition("_")[0] + "_")]
    found = own if len(own) == 1 else found
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{directory} holds several files of detections: {names}", f"keep the one of {split}")
    return found[0] if found else None


def boxes_from_xywh(rows: Iterable[Iterable[float]], size: tuple[int, int]) -> np.ndarray:
    """``(N, 4)`` float32 xyxy inside of a picture; a box without area becomes a pixel, so that rows keep their places.

    Args:
        rows: ``x, y, width, height`` in pixels.
        size: width and height of the picture.
    """
    boxes = np.array([*rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    limit = np.array(size, np.float32)
    low = np.clip(boxes[:, :2], 0, limit - 1)
    return np.concatenate([low, np.clip(boxes[:, 2:], low + 1, limit)], axis=1)


def _example(directory: Path, name: str, lines: list[dict[str, Any]], detections: Detections | None) -> Example:
    path = find_picture(directory, name, _IMAGE_FOLDERS)
    try:
        with Image.open(path) as image:
            size = image.size
    except OSError as error:
        raise DataError(f"{path} is not a readable picture", "get it again") from error
    annotations = {row["id"]: row["bbox"] for line in lines for row in line["anns"]}
    place = {key: index for index, key in enumerate(annotations)}
    queries = []
    for line in lines:
        gold = line["ann_id"] if isinstance(line["ann_id"], list) else [line["ann_id"]]
        if not gold:
            raise ValueError("an expression means no region")
        targets = tuple(place[key] for key in gold)
        queries += [Query(sentence["raw"].lower(), "expression", targets) for sentence in line["sentences"]]
    truth = Regions(boxes_from_xywh(annotations.values(), size), size, "ground-truth")
    return Example(path.name, path, truth, tuple(queries), detected(detections, lines[0]["image_id"], size))


def detected(detections: Detections | None, image_id: Any, size: tuple[int, int]) -> Regions | None:
    """What was detected in one picture; None without detections at all."""
    if detections is None:
        return None
    # Where a detector saw nothing, the released program offers the whole picture.
    rows = detections.get(str(image_id)) or [[0, 0, *size]]
    return Regions(boxes_from_xywh(rows, size), size, "detections")

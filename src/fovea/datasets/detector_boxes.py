"""Boxes that a detector found in the pictures of a data set, in GLIP's and in COCO's result format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fovea.errors import DataError
from fovea.files import content_hash
from fovea.proposers.given import read_json
from fovea.regions import Regions

# Boxes ``(N, 4)`` xyxy pixels and their scores ``(N,)``.
_Found = tuple[np.ndarray, np.ndarray]


class DetectorBoxes:
    """Boxes by picture. What the detector calls them is not used.

    Args:
        form: ``glip``, ``{"IMAGE_ID": {"boxes": [[x1, y1, x2, y2], ...], "scores": [...], "labels": [...]}}``; or
            ``coco``, ``[{"image_id": n, "bbox": [x, y, width, height], "score": s}, ...]``. Pixels of the original
            pictures.
        path: the file.

    Raises:
        DataError: it is missing or of another form, or a box or score is no number.
    """

    def __init__(self, form: str, path: Path) -> None:
        self.source, self.origin = f"detections, {form}", content_hash(path)
        data = read_json(path)
        try:
            self._found: Mapping[str, _Found] = _READERS[form](data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
            raise DataError(
                f"{path} holds no detections in {form}'s form: {error!r}"[:300], "docs/lvis.md shows the forms"
            ) from error

    def regions(self, picture: int, size: tuple[int, int]) -> Regions:
        """The boxes of one picture with their scores, cut to the picture.

        Args:
            picture: its number. A picture that the file does not name has no boxes.
            size: its width and height in pixels. Boxes of which nothing is left inside are dropped.
        """
        boxes, scores = self._found.get(str(picture), (np.zeros((0, 4), np.float32), np.zeros(0, np.float32)))
        boxes = boxes.clip(0, np.array([*size, *size], np.float32))
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Regions(boxes[kept], size, self.source, None, scores[kept])

    def check_named(self, pictures: Iterable[int]) -> None:
        """Refuse a file of other pictures.

        Raises:
            DataError: it names none of these.
        """
        if not any(str(picture) in self._found for picture in pictures):
            raise DataError("the detections are of none of these pictures", "is it the right file?")


def _glip(data: Any) -> dict[str, _Found]:
    return {str(key): _checked(one["boxes"], one["scores"]) for key, one in data.items()}


def _coco(data: Any) -> dict[str, _Found]:
    if not isinstance(data, list):
        raise TypeError("this is no list of detections")
    rows: dict[str, tuple[list[Any], list[Any]]] = {}
    for row in data:
        boxes, scores = rows.setdefault(str(row["image_id"]), ([], []))
        x, y, width, height = row["bbox"]
        boxes.append([x, y, x + width, y + height])
        scores.append(row["score"])
    return {key: _checked(*found) for key, found in rows.items()}


def _checked(boxes: Any, scores: Any) -> _Found:
    corners, values = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    if corners.size == 0:
        corners = corners.reshape(0, 4)
    if corners.ndim != 2 or corners.shape[1] != 4 or values.shape != corners.shape[:1]:
        raise ValueError(f"boxes have the shape {corners.shape}, scores {values.shape}")
    if not (np.isfinite(corners).all() and np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a box or a score is no number that it can be")
    return corners, values


_READERS: dict[str, Callable[[Any], dict[str, _Found]]] = {"glip": _glip, "coco": _coco}

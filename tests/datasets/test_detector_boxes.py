"""Detectors' files: both forms, what is cut off, and files that are not what they seem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.datasets.detector_boxes import DetectorBoxes
from fovea.errors import DataError

BOXES = [[1, 2, 11, 12], [-5, -5, 50, 40], [5, 5, 5, 9], [100, 100, 120, 120]]


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("form", ["glip", "coco"])
def test_boxes_are_cut_and_empty_ones_dropped(form: str, tmp_path: Path) -> None:
    rows = [
        {"image_id": 7, "category_id": 3, "bbox": [x, y, right - x, bottom - y], "score": (i + 1) / 8}
        for i, (x, y, right, bottom) in enumerate(BOXES)
    ]
    glip = {"7": {"boxes": BOXES, "scores": [0.125, 0.25, 0.375, 0.5], "labels": [1, 2, 3, 4]}}
    found = DetectorBoxes(form, write(tmp_path / "d.json", glip if form == "glip" else rows))
    regions = found.regions(7, (40, 30))
    assert regions.boxes.tolist() == [[1, 2, 11, 12], [0, 0, 40, 30]]
    assert regions.scores is not None
    assert regions.scores.tolist() == [0.125, 0.25]
    assert regions.source == f"detections, {form}"
    # A picture that the file does not name has no boxes.
    assert len(found.regions(8, (40, 30))) == 0
    found.check_named([8, 7])
    with pytest.raises(DataError, match="none of these pictures"):
        found.check_named([8])


GOOD = {"boxes": [[0, 0, 1, 1]], "scores": [1]}


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("glip", [GOOD]),
        ("glip", {"7": [1, 2]}),
        ("glip", {"7": {"boxes": [[0, 0, 1, 1]]}}),
        ("glip", {"7": {**GOOD, "scores": [1, 2]}}),
        ("glip", {"7": {**GOOD, "scores": [-1]}}),
        ("glip", {"7": {**GOOD, "boxes": [[0, 0, 1]]}}),
        ("glip", {"7": {**GOOD, "boxes": [[0, 0, 1, float("nan")]]}}),
        ("glip", {"7": {**GOOD, "boxes": [[0, 0, 1, "x"]]}}),
        ("glip", {"7": {**GOOD, "boxes": [[0, 0, 1, 10**400]]}}),
        ("coco", {"7": GOOD}),
        ("coco", [[]]),
        ("coco", [{"image_id": 7, "bbox": [0, 0, 1], "score": 1}]),
        ("coco", [{"image_id": 7, "bbox": None, "score": 1}]),
        ("coco", [{"image_id": 7, "bbox": [0, 0, 1, 1]}]),
        ("coco", [{"image_id": 7, "bbox": [0, 0, 1, 1], "score": None}]),
        ("coco", [{"image_id": 7, "bbox": [0, 0, 1, 1], "score": [1, 2]}]),
    ],
)
def test_other_content_is_one_line(form: str, data: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"holds no detections in {form}'s form") as caught:
        DetectorBoxes(form, write(tmp_path / "d.json", data))
    assert "\n" not in str(caught.value)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        DetectorBoxes("glip", tmp_path / "none.json")
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        DetectorBoxes("glip", tmp_path / "d.json")

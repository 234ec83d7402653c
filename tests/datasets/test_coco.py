"""COCO's annotation files: queries by category, masks of both forms, and files that are not what they seem."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.annotations import find_annotations, read_annotations, split_name
from fovea.datasets.coco import read_coco
from fovea.errors import DataError
from fovea.regions import encode_masks, rle_to_json

SIZE = (40, 30)


def square(left: int, top: int, side: int) -> list[list[float]]:
    """A polygon around whole pixels."""
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def run_lengths(left: int, top: int, side: int) -> dict[str, Any]:
    mask = np.zeros((1, SIZE[1], SIZE[0]), bool)
    mask[0, top : top + side, left : left + side] = True
    return rle_to_json(encode_masks(mask)[0])


def annotation(number: int, category: int, left: int, top: int, side: int, **other: Any) -> dict[str, Any]:
    row = {"id": number, "image_id": 7, "category_id": category, "bbox": [left, top, side, side], "iscrowd": 0}
    return {**row, "segmentation": square(left, top, side), **other}


DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "000000000007.png", "width": SIZE[0], "height": SIZE[1]},
        {"id": 8, "coco_url": "http://images.example/val2017/000000000008.png", "width": 40, "height": 30},
        {"id": 9, "file_name": "000000000009.png", "width": SIZE[0], "height": SIZE[1]},
    ],
    "categories": [
        {"id": 1, "name": "traffic light", "supercategory": "outdoor"},
        {"id": 17, "name": "cat", "supercategory": "animal"},
        {"id": 18, "name": "dog", "supercategory": "animal"},
    ],
    "annotations": [
        annotation(100, 17, 2, 3, 10),
        annotation(101, 1, 20, 5, 8, segmentation=run_lengths(20, 5, 8)),
        annotation(102, 17, 25, 15, 9),
        annotation(103, 18, 0, 0, 30, iscrowd=1, segmentation=run_lengths(0, 0, 30)),
        annotation(104, 18, 4, 4, 5, image_id=8, segmentation=[]),
        annotation(105, 18, 4, 4, 5, image_id=77),
    ],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    for number in (7, 8):
        Image.new("RGB", SIZE, (number, 0, 0)).save(tmp_path / "val2017" / f"00000000000{number}.png")
    return write(tmp_path, DOCUMENT)


def write(directory: Path, document: Any, name: str = "instances_val2017.json") -> Path:
    (directory / "annotations" / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return directory


def test_one_query_per_category_with_all_its_regions(data: Path) -> None:
    first, second = read_coco(data)
    assert first.key == "7"
    assert first.picture == data / "val2017" / "000000000007.png"
    assert [(q.text, q.kind, q.targets) for q in first.queries] == [
        ("cat", "object", (0, 2)),
        ("traffic light", "object", (1,)),
    ]
    np.testing.assert_array_equal(first.truth.boxes, [[2, 3, 12, 13], [20, 5, 28, 13], [25, 15, 34, 24]])
    assert (first.truth.source, first.truth.size, first.detections) == ("ground-truth", SIZE, None)
    # Crowds are neither asked for nor offered; pictures without annotations are left out.
    assert [query.text for query in second.queries] == ["dog"]


def test_masks_are_there_where_all_regions_have_one(data: Path) -> None:
    first, second = read_coco(data)
    for mask, (left, top, right, bottom) in zip(first.truth.dense_masks(), first.truth.boxes.astype(int), strict=True):
        expected = np.zeros((SIZE[1], SIZE[0]), bool)
        expected[top:bottom, left:right] = True
        np.testing.assert_array_equal(mask, expected)
    assert second.truth.masks is None


def test_splits_with_and_without_a_year(data: Path) -> None:
    write(data, DOCUMENT, "instances_train2017.json")
    with pytest.raises(DataError, match=r"several files of annotations.*instances_train2017, instances_val2017"):
        read_coco(data)
    for split in ("val", "val2017", "instances_val2017"):
        assert find_annotations(data, "instances_", split).name == "instances_val2017.json"
    with pytest.raises(DataError, match="no file of annotations"):
        read_coco(data, "test")
    assert split_name(Path("instances_val2017.json")) == split_name(Path("paco_lvis_v1_val.json")) == "val"


def test_pictures_are_read_when_they_are_asked_for(data: Path) -> None:
    """A missing picture stops nobody who does not ask for it; a limit counts pictures with annotations."""
    (data / "val2017" / "000000000008.png").unlink()
    examples = read_coco(data)
    assert len(examples) == 2
    assert examples[0].key == "7"
    with pytest.raises(DataError, match=r"holds no picture 000000000008\.png"):
        examples[1]
    with pytest.raises(IndexError):
        examples[2]
    assert [example.key for example in read_coco(data, limit=1)] == ["7"]
    assert [example.key for example in examples[:1]] == ["7"]


def test_detections_are_found_by_the_number_of_the_picture(data: Path) -> None:
    (data / "dets.json").write_text('{"7": [[1, 2, 3, 4], [5, 6, 7, 8]]}')
    first, second = read_coco(data)
    assert first.detections is not None
    assert second.detections is not None
    np.testing.assert_array_equal(first.detections.boxes, [[1, 2, 4, 6], [5, 6, 12, 14]])
    np.testing.assert_array_equal(second.detections.boxes, [[0, 0, *SIZE]])


def test_other_data_has_another_origin(data: Path) -> None:
    first = read_coco(data).origin
    assert read_coco(data, limit=1).origin == first
    write(data, {**DOCUMENT, "info": 1})
    assert read_coco(data).origin != first


def test_names_of_pictures_lead_nowhere_else(data: Path) -> None:
    outside = data.parent / "secret.png"
    Image.new("RGB", SIZE).save(outside)
    document = copy.deepcopy(DOCUMENT)
    for name in ("../secret.png", str(outside), "val2017/../../secret.png"):
        document["images"][0]["file_name"] = name
        with pytest.raises(DataError, match=r"holds no picture secret\.png"):
            read_coco(write(data, document))[0]
    document["images"][0]["file_name"] = "other/000000000007.png"
    (data / "other").mkdir()
    Image.new("RGB", SIZE).save(data / "other" / "000000000007.png")
    assert read_coco(write(data, document))[0].picture == data / "other" / "000000000007.png"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"images": 1, "annotations": 2, "categories": 3}',
        '{"images": [1], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [{}], "categories": []}',
        '{"images": [], "annotations": [], "categories": [{"id": "1", "name": "x"}]}',
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": null}]}',
        "[" * 100_000,
    ],
)
def test_other_documents_are_refused(data: Path, text: str) -> None:
    with pytest.raises(DataError, match="holds no annotations") as caught:
        read_coco(write(data, text))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("images", {"width": 0}),
        ("images", {"width": 1 << 40, "height": 1 << 40}),
        ("images", {"height": "30"}),
        ("images", {"file_name": 3}),
        ("images", {"file_name": ""}),
        ("images", {"file_name": "a/.."}),
        ("images", {"id": [1]}),
        ("annotations", {"bbox": [1, 2, 3]}),
        ("annotations", {"bbox": [1, 2, 3, float("nan")]}),
        ("annotations", {"bbox": None}),
        ("annotations", {"category_id": 5}),
        ("annotations", {"category_id": {}}),
        ("annotations", {"image_id": None}),
    ],
)
def test_broken_rows_are_refused(data: Path, part: str, change: dict[str, Any]) -> None:
    document = copy.deepcopy(DOCUMENT)
    document[part][0].update(change)
    with pytest.raises(DataError, match="holds no annotations"):
        read_coco(write(data, document))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [[1, 2, "x", 4, 5, 6]],
        "text",
        7,
        {"size": [30, 40], "counts": "!!"},
        {"size": [3, 4], "counts": [12]},
        {"size": [30, 40], "counts": [5]},
    ],
)
def test_broken_masks_are_one_clear_error(data: Path, segmentation: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["annotations"][0]["segmentation"] = segmentation
    with pytest.raises(DataError, match=r"annotations of picture 7 in .* are broken") as caught:
        read_coco(write(data, document))[0]
    assert "\n" not in str(caught.value)


def test_crowds_on_request(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(DOCUMENT))
    for crowds, expected in ((False, [100, 101, 102]), (True, [100, 101, 102, 103])):
        assert [one.id for one in read_annotations(path, crowds=crowds).pictures[0].annotations] == expected

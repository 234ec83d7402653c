"""REFER's layout, written as Python 2 wrote it, and read back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.refer import read_refer
from fovea.errors import DataError

Annotation = dict[str, Any]


def python2(value: Any) -> bytes:
    """Protocol 0 as Python 2 writes it: byte strings, lists and mappings filled one by one."""
    if isinstance(value, str):
        return f"S{value!r}\n".encode()
    if isinstance(value, int):
        return f"I{value}\n".encode()
    if isinstance(value, list):
        return b"(l" + b"".join(python2(one) + b"a" for one in value)
    return b"(d" + b"".join(python2(key) + python2(one) + b"s" for key, one in value.items())


def ref(image: int, annotation: int, split: str, *sentences: str) -> dict[str, Any]:
    rows = [{"sent_id": 7, "sent": text.lower(), "raw": text, "tokens": text.split()} for text in sentences]
    name = f"COCO_train2014_{image:012d}_{annotation}.jpg"
    return {"ref_id": annotation, "ann_id": annotation, "image_id": image, "category_id": 1, "file_name": name,
            "split": split, "sent_ids": [7], "sentences": rows}  # fmt: skip


def rectangle(x: int, y: int, width: int, height: int) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def annotation(key: int, image: int, boxes: list[list[int]], **more: Any) -> Annotation:
    """An annotation of one or more rectangles, with the box around them."""
    corners = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes])
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    polygons = [rectangle(*box) for box in boxes]
    return {"id": key, "image_id": image, "bbox": [*low.tolist(), *(high - low).tolist()], "segmentation": polygons,
            "iscrowd": 0, "category_id": 1, **more}  # fmt: skip


# A mask of 20 x 10 pixels, column by column: two full columns, and nothing more.
CROWD = {"size": [10, 20], "counts": [0, 20, 180]}
REFS = [
    ref(5, 51, "testA", "Guy on the LEFT", "bright cup"),
    ref(3, 31, "val", "red dog"),
    ref(5, 53, "testAB", "The crowd"),
    ref(4, 41, "testBC", "cat"),
    ref(3, 32, "train", "other dog"),
    ref(3, 32, "val", "dog, again"),
]
INSTANCES: dict[str, Any] = {
    "images": [
        {"id": key, "file_name": f"COCO_train2014_{key:012d}.jpg", "width": 20, "height": 10} for key in (3, 4, 5)
    ],
    "annotations": [
        annotation(51, 5, [[1, 1, 4, 3], [10, 5, 2, 2]]),
        annotation(52, 5, [[0, 0, 20, 10]]),
        annotation(31, 3, [[2, 2, 3, 3]]),
        annotation(32, 3, [[6, 6, 3, 3]]),
        annotation(33, 3, [[0, 0, 1, 1]], iscrowd=1),
        annotation(41, 4, [[2, 2, 3, 3]]),
        annotation(53, 5, [[0, 0, 2, 10]], iscrowd=1, segmentation=CROWD),
    ],
}  # fmt: skip


def write(root: Path, refs: Any, instances: Any, dataset: str = "refcoco", by: str = "unc") -> Path:
    directory = root / dataset
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"refs({by}).p").write_bytes(refs if isinstance(refs, bytes) else python2(refs) + b".")
    (directory / "instances.json").write_text(json.dumps(instances))
    pictures = root / "images" / "mscoco" / "images" / "train2014"
    pictures.mkdir(parents=True, exist_ok=True)
    for key in (3, 4, 5):
        Image.new("RGB", (20, 10)).save(pictures / f"COCO_train2014_{key:012d}.jpg")
    return root


def dense(boxes: list[list[int]]) -> np.ndarray:
    mask = np.zeros((10, 20), bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] = True
    return mask


def test_a_split_is_read(tmp_path: Path) -> None:
    (example,) = read_refer(write(tmp_path, REFS, INSTANCES), "refcoco", "testA")
    assert example.key == "5"
    assert Path(str(example.picture)).name == "COCO_train2014_000000000005.jpg"
    asked = [(query.text, query.kind, query.targets) for query in example.queries]
    assert asked == [("guy on the left", "position", (0,)), ("bright cup", "other", (0,)), ("the crowd", "other", (2,))]
    np.testing.assert_array_equal(example.truth.boxes, [[1, 1, 12, 7], [0, 0, 20, 10], [0, 0, 2, 10]])
    masks = [dense([[1, 1, 4, 3], [10, 5, 2, 2]]), dense([[0, 0, 20, 10]]), dense([[0, 0, 2, 10]])]
    np.testing.assert_array_equal(example.truth.dense_masks(), masks)
    assert example.truth.source == "ground-truth"


def test_the_released_test_of_position_may_be_asked_for(tmp_path: Path) -> None:
    examples = read_refer(write(tmp_path, REFS, INSTANCES), "refcoco", "testA", position="released")
    # "bright" holds "right".
    assert [query.kind for query in examples[0].queries] == ["position", "position", "other"]


@pytest.mark.parametrize(
    ("split", "pictures"),
    [
        ("testA", ["5"]),
        ("testB", ["5", "4"]),
        ("testC", ["4"]),
        ("test", ["5", "4"]),
        ("val", ["3"]),
        ("testBC", ["4"]),
    ],
)
def test_splits_are_chosen_as_refer_does(tmp_path: Path, split: str, pictures: list[str]) -> None:
    examples = read_refer(write(tmp_path, REFS, INSTANCES), "refcoco", split)
    assert [example.key for example in examples] == pictures
    assert [example.key for example in examples[:1]] == pictures[:1]


def test_expressions_of_one_picture_stand_together(tmp_path: Path) -> None:
    (example,) = read_refer(write(tmp_path, REFS, INSTANCES), "refcoco", "val")
    assert [(query.text, query.targets) for query in example.queries] == [("red dog", (0,)), ("dog, again", (1,))]
    # The crowd is no region to choose.
    assert len(example.truth) == 2


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_other_protocols_and_divisions_are_read(tmp_path: Path, protocol: int) -> None:
    root = write(tmp_path, pickle.dumps(REFS, protocol), INSTANCES, "refcocog", "google")
    assert len(read_refer(root, "refcocog", "val", "google")) == 1
    with pytest.raises(DataError, match=r"no refs\(umd\)\.p.*there are: refs\(google\)\.p"):
        read_refer(root, "refcocog", "val")


def test_pictures_may_be_limited(tmp_path: Path) -> None:
    root = write(tmp_path, REFS, INSTANCES)
    assert [example.key for example in read_refer(root, "refcoco", "test", limit=1)] == ["5"]
    assert len(read_refer(root, "refcoco", "test", limit=0)) == 0


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(b"x")
    for name in ("../secret.jpg", str(outside), "..\\secret.jpg", "..", "", "\0"):
        instances = {**INSTANCES, "images": [{**row, "file_name": name} for row in INSTANCES["images"]]}
        examples = read_refer(write(tmp_path / "data", REFS, instances), "refcoco", "val")
        with pytest.raises(DataError, match="holds no picture"):
            examples[0]
    with pytest.raises(DataError, match="no dataset called"):
        read_refer(tmp_path, "../data/refcoco", "val")
    with pytest.raises(DataError, match=r"holds no refs\(x\)\.p"):
        read_refer(tmp_path / "data", "refcoco", "val", "../x")


@pytest.mark.parametrize(
    "refs",
    [
        b"",
        pickle.dumps(3),
        pickle.dumps({}),
        pickle.dumps([{}]),
        pickle.dumps([{**REFS[1], "sentences": [{"sent": 3}]}]),
        pickle.dumps([{**REFS[1], "sentences": 3}]),
        pickle.dumps([{**REFS[1], "ann_id": "31"}]),
        pickle.dumps([{**REFS[1], "image_id": [3]}]),
        pickle.dumps([{**REFS[1], "image_id": 99}]),
        pickle.dumps([{**REFS[1], "ann_id": 99}]),
        pickle.dumps([{**REFS[1], "split": None}]),
    ],
)
def test_broken_expressions_are_refused(tmp_path: Path, refs: bytes) -> None:
    with pytest.raises(DataError):
        read_refer(write(tmp_path, refs, INSTANCES), "refcoco", "val")


def test_code_in_the_expressions_does_not_run(tmp_path: Path) -> None:
    root = write(tmp_path, b"cos\nmkdir\n(S'" + str(tmp_path / "trace").encode() + b"'\ntR.", INSTANCES)
    with pytest.raises(DataError, match="is refused"):
        read_refer(root, "refcoco", "val")
    assert not (tmp_path / "trace").exists()


def test_a_small_pickle_that_prints_as_an_endless_text_is_refused_quickly(tmp_path: Path) -> None:
    data: Any = "x" * 100
    for _ in range(60):
        data = [data] * 10
    for row in ({**REFS[1], "split": data}, data, {"sentences": data}):
        with pytest.raises(DataError):
            read_refer(write(tmp_path, pickle.dumps([row]), INSTANCES), "refcoco", "val")


@pytest.mark.parametrize(
    "change",
    [
        {"images": []},
        {"images": [{"id": 3, "file_name": "a.jpg"}]},
        {"images": [{"id": 3, "file_name": "a.jpg", "width": 1 << 40, "height": 1 << 40}]},
        {"images": [{"id": 3, "file_name": "a.jpg", "width": "20", "height": 10}]},
        {"images": [{"id": 3, "file_name": 3, "width": 20, "height": 10}]},
        {"images": [{"id": [], "file_name": "a.jpg", "width": 20, "height": 10}]},
        {"annotations": []},
        {"annotations": [3]},
        {"annotations": None},
    ],
)
def test_broken_instances_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"instances\.json is broken"):
        read_refer(write(tmp_path, REFS, {**INSTANCES, **change}), "refcoco", "val")


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": []},
        {"segmentation": [[1, 2]]},
        {"segmentation": {"size": [5, 5], "counts": [25]}},
        {"segmentation": {"size": [10, 20], "counts": [25]}},
        {"segmentation": 3},
        {"bbox": [1, 2, float("nan"), 3]},
        {"bbox": [1, 2, 3]},
        {"bbox": "abcd"},
    ],
)
def test_broken_regions_are_named_when_asked_for(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = [{**row, **change} if row["id"] == 31 else row for row in INSTANCES["annotations"]]
    examples = read_refer(write(tmp_path, REFS, {**INSTANCES, "annotations": rows}), "refcoco", "val")
    with pytest.raises(DataError, match="picture 3 are broken"):
        examples[0]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are: none"):
        read_refer(tmp_path, "refcoco", "val")
    root = write(tmp_path, REFS, INSTANCES)
    with pytest.raises(DataError, match=r"no split 'testD'.*there are: testA, testAB, testBC, train, val"):
        read_refer(root, "refcoco", "testD")
    (root / "refcoco" / "instances.json").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_refer(root, "refcoco", "val")


def test_the_last_expression_as_it_was_written(tmp_path: Path) -> None:
    examples = read_refer(write(tmp_path, REFS, INSTANCES), "refcoco", "testA", wording="last-raw")
    assert [query.text for query in examples[0].queries] == ["bright cup", "The crowd"]

"""PhraseCut's files: unions against masks made by hand, kinds, and what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.phrasecut import draw_union, read_phrasecut
from fovea.errors import DataError

SIZES = [{"image_id": key, "width": 20, "height": 10, "split": "miniv"} for key in (2, 7)]


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def task(image: int, phrase: str, name: str, *instances: list[Any], **more: Any) -> dict[str, Any]:
    boxes = [[1, 1, 3, 3] for _ in instances]
    structure = {"name": name, "attributes": [], "relation_ids": [], "relation_descriptions": [], "type": "name"}
    return {"task_id": f"{image}__{phrase}", "image_id": image, "ann_ids": [1], "instance_boxes": boxes,
            "Polygons": [*instances], "phrase": phrase, "phrase_structure": structure, **more}  # fmt: skip


TASKS = [
    task(7, "two red cars", "car", [square(1, 1, 2)], [square(8.9, 2.2, 3), square(15, 5, 1)]),
    task(2, "man", "man", [square(0, 0, 4)]),
    task(7, "empty street", "street", [], [[[3, 3]]], instance_boxes=[[2, 1, 3, 4], [10, 2, 4, 1]]),
]


def write(root: Path, tasks: Any = TASKS, sizes: Any = SIZES) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "refer_miniv.json").write_text(json.dumps(tasks))
    (root / "image_data_split3000.json").write_text(json.dumps(sizes))
    for key in (2, 7):
        Image.new("RGB", (20, 10)).save(root / "images" / f"{key}.jpg")
    return root


def test_phrases_mean_unions(tmp_path: Path) -> None:
    examples = read_phrasecut(write(tmp_path), "miniv")
    assert [example.key for example in examples] == ["7", "2"]
    first = examples[0]
    asked = [(query.text, query.kind, query.targets) for query in first.queries]
    assert asked == [("two red cars", "seen", (0,)), ("empty street", "unseen", (1,))]
    assert examples[1].queries[0].kind == "unseen"
    # Corners are cut down to whole pixels, and the outline belongs to the thing.
    cars = np.zeros((10, 20), bool)
    cars[1:4, 1:4] = cars[2:6, 8:12] = cars[5:7, 15:17] = True
    np.testing.assert_array_equal(first.truth.dense_masks(), [cars, np.zeros_like(cars)])
    # The empty mask has the box of its instances.
    np.testing.assert_array_equal(first.truth.boxes, [[1, 1, 17, 7], [2, 1, 14, 5]])
    assert [example.key for example in examples[1:]] == ["2"]
    assert Path(str(first.picture)) == tmp_path / "images" / "7.jpg"


def test_overlapping_and_far_polygons() -> None:
    shared = draw_union([square(1, 1, 3), square(2, 2, 3)], (20, 10))
    expected = np.zeros((10, 20), bool)
    expected[1:5, 1:5] = expected[2:6, 2:6] = True
    np.testing.assert_array_equal(shared, expected)
    assert draw_union([square(-1e12, -1e12, 2e12)], (20, 10)).all()
    assert not draw_union([square(1e12, 1e12, 5), [], [[1, 1]]], (20, 10)).any()
    with pytest.raises(ValueError, match="not a number"):
        draw_union([[[1, 2], [3, float("nan")]]], (20, 10))


def test_pictures_may_be_limited(tmp_path: Path) -> None:
    (example,) = read_phrasecut(write(tmp_path), "miniv", limit=1)
    assert len(example.queries) == 2


def changed(**more: Any) -> list[dict[str, Any]]:
    return [{**task(7, "a", "b"), **more}]


@pytest.mark.parametrize(
    "tasks",
    [
        3,
        {"a": 1},
        [3],
        [{}],
        [task(9, "no such picture", "b")],
        changed(image_id="7"),
        changed(phrase=None),
        changed(phrase_structure=None),
        changed(phrase_structure={"name": 3}),
    ],
)
def test_broken_phrases_are_refused(tmp_path: Path, tasks: Any) -> None:
    with pytest.raises(DataError):
        read_phrasecut(write(tmp_path, tasks), "miniv")


@pytest.mark.parametrize(
    "sizes", [3, [3], [{"image_id": 7}], [{"image_id": 7, "width": 0, "height": 3}], [{**SIZES[0], "width": 1 << 30}]]
)
def test_broken_sizes_are_refused(tmp_path: Path, sizes: Any) -> None:
    with pytest.raises(DataError, match="image_data_split3000"):
        read_phrasecut(write(tmp_path, sizes=sizes), "miniv")


@pytest.mark.parametrize(
    "polygons", [3, [3], [[3]], [[[[1, 2, 3]]]], [[[["a", "b"], ["c", "d"]]]], [[[[1e400, 2], [3, 4]]]]]
)
def test_broken_polygons_are_named_when_asked_for(tmp_path: Path, polygons: Any) -> None:
    examples = read_phrasecut(write(tmp_path, changed(Polygons=polygons)), "miniv")
    with pytest.raises(DataError, match="polygons of picture 7 are broken"):
        examples[0]


def test_missing_files_are_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    with pytest.raises(DataError, match=r"holds no refer_test\.json; there are the splits: miniv"):
        read_phrasecut(root, "test")
    with pytest.raises(DataError, match="holds no refer_passwd"):
        read_phrasecut(root, "../../etc/passwd")
    (root / "images" / "7.jpg").unlink()
    with pytest.raises(DataError, match=r"holds no picture '7\.jpg'"):
        read_phrasecut(root, "miniv")[0]

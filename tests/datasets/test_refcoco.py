"""ReCLIP's files as published, and the accuracy that the released program computed on them (golden/fgvp/e2e)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fovea.datasets.refcoco import boxes_from_xywh, expression_files, picture_name, read_refcoco
from fovea.errors import DataError
from fovea.evaluation.grounding import MIN_IOU
from fovea.regions import box_iou

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp" / "e2e"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "images", tmp_path / "images")
    for name in ("input.jsonl", "dets_dict.json"):
        shutil.copy(GOLDEN / name, tmp_path)
    return tmp_path


def test_names_of_pictures() -> None:
    assert picture_name("COCO_train2014_000000123456_7.jpg") == "COCO_train2014_000000123456.jpg"
    assert picture_name("plain_scene.png") == "plain_scene.png"


@pytest.mark.parametrize("detections", ["dets_dict.json", "dets_list.json"])
def test_both_forms_of_detections_are_read(data: Path, detections: str) -> None:
    (data / "dets_dict.json").unlink()
    shutil.copy(GOLDEN / detections, data)
    examples = read_refcoco(data)
    rows = json.loads((GOLDEN / "out_baseline_crop_1clip.json").read_text())["rows"]
    recorded = {row["file_name"]: row["bboxes_xyxy"] for row in rows}
    assert {example.key for example in examples} == set(recorded)
    for example in examples:
        assert example.detections is not None
        width, height = example.truth.size
        expected = np.clip(recorded[example.key], 0, [width, height, width, height])
        np.testing.assert_allclose(example.detections.boxes, expected, atol=1e-4)


@pytest.mark.parametrize("run", ["baseline_crop_1clip", "parse_crop_shade", "S_circles_2clip"])
def test_what_counts_as_right_is_what_counted(data: Path, run: str) -> None:
    """The recorded predictions, judged by our protocol, have the recorded verdicts."""
    recorded = json.loads((GOLDEN / f"out_{run}.json").read_text())
    verdicts = {(row["file_name"], row["text"].lower()): row for row in recorded["rows"]}
    right = []
    for example in read_refcoco(data):
        assert example.detections is not None
        overlaps = box_iou(example.detections.boxes, example.truth.boxes)
        for query in example.queries:
            row = verdicts[example.key, query.text]
            right.append(bool((overlaps[row["pred"], list(query.targets)] > MIN_IOU).any()))
            assert right[-1] == bool(row["correct"])
    assert 100 * np.mean(right) == pytest.approx(recorded["metrics"]["acc"], abs=1e-3)


def test_splits_are_named(data: Path) -> None:
    shutil.copy(data / "input.jsonl", data / "refcoco_val.jsonl")
    with pytest.raises(DataError, match="several splits"):
        read_refcoco(data)
    assert len(read_refcoco(data, "refcoco_val", limit=1)) == 1
    with pytest.raises(DataError, match="there are: input, refcoco_val"):
        read_refcoco(data, "refcoco_test")


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"file_name": 3}', '{"file_name": "plain_scene.png", "anns": [{}]}']
)
def test_broken_lines_are_refused(data: Path, line: str) -> None:
    (data / "input.jsonl").write_text(line)
    with pytest.raises(DataError):
        read_refcoco(data)


def test_missing_pictures_and_names_that_lead_outside_are_refused(data: Path) -> None:
    for name in ("gone.png", "../../etc/passwd"):
        line = {"file_name": name, "image_id": 1, "ann_id": 1, "anns": [], "sentences": []}
        (data / "input.jsonl").write_text(json.dumps(line))
        with pytest.raises(DataError, match="holds no picture"):
            read_refcoco(data)


def test_odd_boxes_keep_their_places() -> None:
    boxes = boxes_from_xywh([[1, 2, 3, 4], [5, 5, 0, 0], [-5, -5, 3, 3], [100, 100, 5, 5]], (20, 10))
    np.testing.assert_array_equal(boxes, [[1, 2, 4, 6], [5, 5, 6, 6], [0, 0, 1, 1], [19, 9, 20, 10]])
    assert boxes_from_xywh([], (20, 10)).shape == (0, 4)


def test_detections_are_those_of_the_data_set(data: Path) -> None:
    """ReCLIP ships one file per data set, all in one folder."""
    (data / "input.jsonl").rename(data / "refcoco_val.jsonl")
    own = json.loads((data / "dets_dict.json").read_text())
    (data / "dets_dict.json").rename(data / "refcoco_dets_dict.json")
    (data / "refcoco+_dets_dict.json").write_text(json.dumps({key: [[0, 0, 1, 1]] for key in own}))
    before = expression_files(data, "refcoco_val")
    assert [path.name for path in before] == ["refcoco_val.jsonl", "refcoco_dets_dict.json"]
    expected = sum(len(rows) for rows in own.values())
    assert sum(len(example.detections or ()) for example in read_refcoco(data, "refcoco_val")) >= expected
    (data / "refcoco_dets_dict.json").rename(data / "refcocog_dets_dict.json")
    with pytest.raises(DataError, match=r"several files of detections: refcoco\+_dets_dict.json, refcocog"):
        read_refcoco(data, "refcoco_val")


def test_damage_is_one_line(data: Path) -> None:
    lines = [json.loads(line) for line in (data / "input.jsonl").read_text().splitlines()]
    (data / "input.jsonl").write_text("".join(json.dumps({**line, "ann_id": []}) + "\n" for line in lines))
    with pytest.raises(DataError, match="means no region"):
        read_refcoco(data)
    shutil.copy(GOLDEN / "input.jsonl", data)
    for picture in (data / "images").iterdir():
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="is not a readable picture"):
        read_refcoco(data)

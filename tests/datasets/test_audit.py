"""Files of pictures to audit and of names: what is read, and that nothing in them is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.datasets.audit import fingerprint, read_audit, read_names
from fovea.errors import DataError
from fovea.evaluation.bias import Names

REGION = {"box": [1, 2, 30, 40], "group": "a"}
NAMES = Names()


def written(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_lines_lists_and_single_rows_are_read_alike(tmp_path: Path) -> None:
    rows = [{"file_name": "a/1.png", "regions": [REGION]}, {"file_name": "2.png", "regions": [{"box": [0, 0, 5, 5]}]}]
    lines = written(tmp_path / "lines", "\n".join(map(json.dumps, rows)) + "\n\n")
    for path in (lines, written(tmp_path / "list", rows)):
        first, second = read_audit(path, Path("pictures"), NAMES)
        assert (first.key, first.picture, first.boxes) == ("a/1.png", Path("pictures/a/1.png"), [[1, 2, 30, 40]])
        assert (first.groups, second.groups) == (("a",), ("all",))
        assert first.neutral == (None,)
        assert first.segmentations is None
    (only,) = read_audit(written(tmp_path / "one", rows[0]), Path("pictures"), NAMES)
    assert only.key == "a/1.png"
    assert fingerprint(lines) != fingerprint(tmp_path / "list")


def test_rows_of_one_picture_are_joined(tmp_path: Path) -> None:
    rows = [{"file_name": "1.png", "regions": [REGION]}, {"file_name": "1.png", "regions": [{**REGION, "group": "b"}]}]
    (only,) = read_audit(written(tmp_path / "list", rows), tmp_path, NAMES)
    assert only.groups == ("a", "b")


@pytest.mark.parametrize("name", ["../../etc/1.png", "/etc/1.png", "..\\..\\etc\\1.png", "a/../../etc/1.png"])
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "list", [{"file_name": name, "regions": [REGION]}])
    (only,) = read_audit(path, tmp_path / "pictures", NAMES)
    assert (tmp_path / "pictures").resolve() in Path(str(only.picture)).resolve().parents
    assert str(only.picture).endswith("etc/1.png")


def coco() -> dict[str, Any]:
    box = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 5, 6]}
    return {
        "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
        "annotations": [
            {**box, "segmentation": [[10, 20, 15, 20, 15, 26]], "iscrowd": 0},
            {**box, "category_id": 4, "segmentation": {"size": [50, 50], "counts": [2500]}},
            {**box, "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "person"}, {"id": 4, "name": "dog"}],
    }


def test_categories_of_coco_are_groups(tmp_path: Path) -> None:
    (only,) = read_audit(written(tmp_path / "coco", coco()), tmp_path, NAMES)
    assert only.boxes == [[10, 20, 15, 26]] * 2
    assert only.groups == ("person", "dog")
    assert only.neutral == (None, None)
    assert only.segmentations is not None
    (only,) = read_audit(tmp_path / "coco", tmp_path, Names((), ("thief",)))
    assert only.neutral == (("person", "dog"),) * 2


def _changed(**parts: Any) -> list[Any]:
    return [{"file_name": "1.png", "regions": [{**REGION, **parts}]}]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "3",
        "[3]",
        "{}",
        "not json",
        '{"file_name": "1.png", "regions": []}\nhalf a li',
        [{"regions": [REGION]}],
        [{"file_name": 3, "regions": [REGION]}],
        [{"file_name": "..", "regions": [REGION]}],
        [{"file_name": "1.png", "regions": {"box": 1}}],
        [{"file_name": "1.png", "regions": [3]}],
        [{"file_name": "1.png", "regions": [{}]}],
        _changed(box=[1, 2, 3]),
        _changed(box=[1, 2, 3, "4"]),
        _changed(box=[1, 2, 3, True]),
        _changed(group=3),
        _changed(names="man"),
        _changed(names=[""]),
        _changed(names=[]),
        _changed(names=["?"]),
        _changed(names=["man", "Murderer"]),
        {"annotations": [], "images": [], "categories": []},
        {**coco(), "categories": []},
        {**coco(), "images": []},
        {**coco(), "annotations": 3},
        "[" * 100_000,
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, data: Any) -> None:
    with pytest.raises(DataError) as caught:
        read_audit(written(tmp_path / "file", data), tmp_path, NAMES)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_are_not_there_or_no_text_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("gone", "binary", "."):
        with pytest.raises(DataError):
            read_audit(tmp_path / name, tmp_path, NAMES)


def test_regions_need_neutral_names(tmp_path: Path) -> None:
    path = written(tmp_path / "list", [{"file_name": "1.png", "regions": [REGION]}])
    with pytest.raises(DataError, match="has no neutral names"):
        read_audit(path, tmp_path, Names((), ("thief",)))


def test_names_have_defaults(tmp_path: Path) -> None:
    assert read_names(written(tmp_path / "names", {"harmful": ["Thief", "thief"]})) == Names(harmful=("thief",))
    assert NAMES.neutral == ("man", "woman")
    whole = {"neutral": ["a", "b"], "harmful": ["c"], "template": "the {}"}
    assert read_names(written(tmp_path / "names", whole)) == Names(("a", "b"), ("c",), "the {}")


@pytest.mark.parametrize(
    "data",
    [
        "x", "[]", "{}", {"harmfull": ["a"]}, {"harmful": "a"}, {"harmful": [3]}, {"harmful": []}, {"harmful": ["!"]},
        {"template": 3}, {"template": "none"}, {"neutral": ["murderer"]},
    ],
)  # fmt: skip
def test_broken_names_are_one_clear_line(tmp_path: Path, data: Any) -> None:
    with pytest.raises(DataError) as caught:
        read_names(written(tmp_path / "names", data))
    assert "\n" not in str(caught.value)

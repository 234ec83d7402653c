"""LVIS's files: addresses in place of names, frequencies, and lists of what is absent or annotated in part."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fovea.datasets.annotations import picture_path
from fovea.datasets.lvis import read_lvis
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.detection_benchmarks import open_detections
from fovea.scenes.export import write_scenes
from fovea.scenes.glyphs import glyphs_of

URL = "http://images.cocodataset.org/{}/000000000042.jpg"
DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 42, "coco_url": URL.format("train2017"), "width": 40, "height": 30, "neg_category_ids": [2],
         "not_exhaustive_category_ids": [1]},
        {"id": 43, "coco_url": URL.format("../../secret"), "width": 40, "height": 30, "neg_category_ids": [],
         "not_exhaustive_category_ids": []},
    ],
    "categories": [
        {"id": 1, "name": "aerosol_can", "frequency": "c", "synset": "aerosol.n.02"},
        {"id": 2, "name": "air_conditioner", "frequency": "f"},
    ],
    "annotations": [{"id": 0, "image_id": 42, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 7.5}],
}  # fmt: skip


def write(folder: Path, document: dict[str, Any], name: str = "lvis_v1_val.json") -> Path:
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / name).write_text(json.dumps(document))
    return folder


def test_everything_that_average_precision_needs_is_read(tmp_path: Path) -> None:
    file = read_lvis(write(tmp_path, DOCUMENT), "val")
    first = file.pictures[0]
    assert (first.negative, first.not_exhaustive) == ((2,), (1,))
    assert (first.annotations[0].box, first.annotations[0].area) == ((1.0, 2.0, 3.0, 4.0), 7.5)
    assert [one.frequency for one in file.categories.values()] == ["c", "f"]
    # Pictures of the val split lie in both of COCO's folders; nothing outside of the data is opened.
    for folder in ("train2017", "val2017", "secret"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "000000000042.jpg").touch()
    assert picture_path(tmp_path, first.file_name) == tmp_path / "train2017" / "000000000042.jpg"
    assert picture_path(tmp_path, file.pictures[1].file_name).is_relative_to(tmp_path)
    assert open_detections("lvis", Source(tmp_path)).split == "lvis-val"
    # A part of the pictures stands beside no paper.
    assert open_detections("lvis", Source(tmp_path, limit=1)).split == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("categories", 0, "frequency"), "x"),
        (("categories", 0, "frequency"), ["r"]),
        (("images", 0, "neg_category_ids"), 5),
        (("images", 0, "neg_category_ids"), ["1"]),
        (("images", 0, "not_exhaustive_category_ids"), [None]),
        (("images", 0, "coco_url"), ".."),
        (("annotations", 0, "area"), float("nan")),
        (("annotations", 0, "area"), "big"),
        (("images", 1, "id"), 42),
    ],
)
def test_broken_files_are_one_line(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    document: Any = copy.deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DataError, match=r"holds no annotations|two pictures of one number"):
        read_lvis(write(tmp_path, document))


def test_files_in_cocos_form_do_as_well(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lvis_"):
        read_lvis(tmp_path)
    assert read_lvis(write(tmp_path, DOCUMENT, "instances_val2017.json"), "val").pictures[0].id == 42


def test_scenes_are_written_in_this_form(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6, 1_000_000, size=64, lvis=True, glyphs=(*glyphs_of("train", "unseen"),))
    file = read_lvis(tmp_path)
    assert file.path.name == "lvis_scenes.json"
    assert {one.frequency for one in file.categories.values()} == {"r", "c", "f", "u"}
    whole = json.loads((tmp_path / "instances.json").read_text())
    assert sum(len(one.annotations) for one in file.pictures) < len(whole["annotations"])
    assert any(one.not_exhaustive for one in file.pictures)
    # On the fly the same is composed from the same numbers.
    composed = dict.fromkeys(file.categories)
    for picture, path in open_detections("lvis", Source(tmp_path)).pictures():
        assert Path(str(path)).is_file()
        assert {one.category for one in picture.annotations} <= {*composed}

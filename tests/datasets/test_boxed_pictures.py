"""Named boxes from annotation files, good and bad, and from scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.boxed_pictures import AnnotatedBoxes, SceneBoxes, open_source
from fovea.errors import DataError
from fovea.scenes.scene import compose


def annotation(image: int, category: int, box: list[float], **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "bbox": box, **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "images" / "patch8").mkdir(parents=True)
    Image.new("RGB", (40, 30), "white").save(tmp_path / "images" / "patch8" / "a.png")
    Image.new("RGB", (9, 9), "white").save(tmp_path / "images" / "patch8" / "b.png")
    data = {
        # The names of 7 and 2 are the same, that of 5 is not.
        "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 5, "name": "Cat "}],
        "images": [
            {"id": 11, "file_name": "v1/patch8/a.png", "width": 40, "height": 30},
            {"id": 12, "file_name": "v1/patch8/b.png", "width": 10, "height": 9},
            {"id": 13, "file_name": "../../patch8/../../secret.png", "width": 10, "height": 9},
        ],
        "annotations": [
            annotation(11, 7, [1, 2, 10, 20]),
            annotation(11, 5, [30, 20, 50, 50]),
            annotation(11, 2, [3, 3, 0, 5]),
            annotation(11, 2, [100, 3, 10, 5]),
            annotation(11, 2, [0, 0, 4, 4]),
            annotation(11, 5, [0, 0, 4, 4], iscrowd=1),
        ],
    }
    path = tmp_path / "annotations" / "train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    Image.new("RGB", (10, 9)).save(tmp_path / "secret.png")
    return path


def test_equal_names_are_one_class_and_keep_their_numbers(file: Path) -> None:
    source = AnnotatedBoxes.read(file, file.parents[1] / "images")
    assert source.vocabulary == ("cat", "Cat ")
    assert source.category_ids == ((2, 7), (5,))
    boxed = source.load(0)
    assert source.id(0) == 11
    np.testing.assert_array_equal(boxed.boxes, np.array([[1, 2, 11, 22], [30, 20, 40, 30], [0, 0, 4, 4]], np.float32))
    assert boxed.labels.tolist() == [0, 1, 0]
    # One without area, one outside; a crowd is no thing.
    assert boxed.dropped == 2


def test_pictures_that_do_not_fit_are_refused(file: Path) -> None:
    source = open_source(str(file), file.parents[1] / "images")
    with pytest.raises(DataError, match="another size"):
        source.load(1)
    # Nothing outside of the folder is opened.
    with pytest.raises(DataError, match=r"no picture 'secret\.png'"):
        source.load(2)


def test_a_part_is_the_same_pictures(file: Path) -> None:
    source = AnnotatedBoxes.read(file)
    assert [source.part(1, 3).id(index) for index in range(2)] == [12, 13]
    assert SceneBoxes(5, 9).part(2, 4) == SceneBoxes(7, 2)


def test_scenes_name_their_things() -> None:
    source = open_source("scenes:2100000+3")
    assert len(source) == 3
    assert source.id(2) == 2_100_002
    boxed, scene = source.load(2), compose(2_100_002)
    np.testing.assert_array_equal(boxed.boxes, scene.boxes)
    assert [source.vocabulary[label] for label in boxed.labels] == [thing.name for thing in scene.things]
    assert len(set(source.vocabulary)) == len(source.vocabulary) == len(source.category_ids)


@pytest.mark.parametrize("text", ["scenes:", "scenes:3", "scenes:3+0", "scenes:-3+4", "scenes:1+2+3", "nothing.json"])
def test_no_source(text: str) -> None:
    with pytest.raises(DataError):
        open_source(text)

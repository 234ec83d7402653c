"""COCO's objects cut out: squares half as large again as the box, with or without what is around."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.coco_objects import known_background, read_coco_objects
from fovea.errors import DataError, RegionError

PIXELS = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)


def polygon(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number: int, category: int, left: int, top: int, width: int, height: int, masked: bool) -> Any:
    row = {"id": number, "image_id": 7, "category_id": category, "bbox": [left, top, width, height], "iscrowd": 0}
    return {**row, "segmentation": polygon(left, top, left + width, top + height) if masked else []}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    document = {
        "images": [{"id": 7, "file_name": "7.png", "width": 40, "height": 30}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "traffic_light"}],
        "annotations": [
            annotation(5, 1, 10, 10, 8, 4, True),
            annotation(6, 18, 0, 22, 4, 8, True),
            annotation(9, 18, 2, 2, 4, 4, False),
        ],
    }
    (tmp_path / "instances_val2017.json").write_text(json.dumps(document))
    Image.fromarray(PIXELS).save(tmp_path / "7.png")
    return tmp_path


def test_the_square_around_a_box(data: Path) -> None:
    benchmark = read_coco_objects(data)
    assert [one.text for one in benchmark.classes] == ["dog", "traffic light"]
    assert (benchmark.split, [one.key for one in benchmark.pictures]) == ("coco-names kept", ["5", "6", "9"])
    named = benchmark.pictures[0].open()
    # The centre is (14, 12), the side 12.
    np.testing.assert_array_equal(named.picture.pixels, PIXELS[6:18, 8:20])
    expected = np.zeros((12, 12), bool)
    expected[4:8, 2:10] = True
    np.testing.assert_array_equal(named.regions.dense_masks()[0], expected)
    assert named.classes == (1,)


def test_beyond_the_rim_it_is_white(data: Path) -> None:
    named = read_coco_objects(data).pictures[1].open()
    # The centre is (2, 26), the side 12: from -4 to 8 and from 20 to 32.
    np.testing.assert_array_equal(named.picture.pixels[:10, 4:], PIXELS[20:30, :8])
    assert (named.picture.pixels[10:] == 255).all()
    assert (named.picture.pixels[:, :4] == 255).all()
    np.testing.assert_array_equal(named.regions.boxes, [[4, 2, 8, 10]])


def test_a_white_background_leaves_the_thing(data: Path) -> None:
    benchmark = read_coco_objects(data, background="white")
    assert benchmark.split == "coco-names white"
    named = benchmark.pictures[0].open()
    mask = named.regions.dense_masks()[0]
    np.testing.assert_array_equal(named.picture.pixels[mask], PIXELS[6:18, 8:20][mask])
    assert (named.picture.pixels[~mask] == 255).all()
    with pytest.raises(RegionError, match="object 9 has no mask"):
        benchmark.pictures[2].open()
    with pytest.raises(DataError, match="known are kept, white"):
        known_background("black")


def test_objects_without_masks_keep_their_boxes(data: Path) -> None:
    named = read_coco_objects(data).pictures[2].open()
    assert named.regions.masks is None
    np.testing.assert_array_equal(named.regions.boxes, [[1, 1, 5, 5]])


def test_pictures_of_other_sides_are_refused(data: Path) -> None:
    Image.fromarray(PIXELS[:20]).save(data / "7.png")
    with pytest.raises(RegionError, match="other sides"):
        read_coco_objects(data).pictures[0].open()

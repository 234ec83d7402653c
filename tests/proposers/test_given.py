"""Regions from files: every known form, and one clear line for everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.errors import DataError, FoveaError, PictureError, RegionError
from fovea.pictures import Picture, open_picture
from fovea.proposers.given import mask_from_file, regions_from_file
from fovea.regions import Regions

XYXY = [[1, 2, 11, 22], [5, 5, 40, 30]]
XYWH = [[1, 2, 10, 20], [5, 5, 35, 25]]
NAME = "COCO_train2014_000000000123.png"


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / NAME)
    return open_picture(tmp_path / NAME)


def written(picture: Picture, data: Any) -> Path:
    path = Path(str(picture.path)).with_name("boxes.json")
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def coco(**image: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "other.png"}, {"id": 9, "file_name": f"train2014/{NAME}", **image}],
        "annotations": [
            {"image_id": 7, "bbox": [0, 0, 5, 5]},
            {"image_id": 9, "bbox": XYWH[0], "segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]]},
            {"image_id": 9, "bbox": XYWH[1], "segmentation": {"size": [30, 40], "counts": [100, 50, 1050]}},
        ],
    }


@pytest.mark.parametrize(
    "data",
    [
        XYXY,
        {"123": XYWH, "7": [[0, 0, 1, 1]]},
        {"COCO_train2014_000000000123": XYWH},
        [{"image_id": 123, "box": XYWH[0]}, {"image_id": 7, "box": [0, 0, 1, 1]}, {"image_id": 123, "box": XYWH[1]}],
        coco(),
        coco(width=40, height=30),
        {"size": [40, 30], "source": "file", "boxes": XYXY},
    ],
    ids=["xyxy", "by number", "by name", "rows", "coco", "coco with sizes", "document"],
)
def test_known_forms(picture: Picture, data: Any) -> None:
    regions = regions_from_file(written(picture, data), picture)
    np.testing.assert_array_equal(regions.boxes, XYXY)
    assert regions.source == "file"
    assert regions.size == (40, 30)


def test_a_picture_may_be_named_by_hand(picture: Picture) -> None:
    path = written(picture, {"123": XYWH, "7": [[0, 0, 1, 1]]})
    np.testing.assert_array_equal(regions_from_file(path, picture, image_id="7").boxes, [[0, 0, 1, 1]])
    path = written(picture, coco())
    np.testing.assert_array_equal(regions_from_file(path, picture, image_id="7").boxes, [[0, 0, 5, 5]])


def test_coco_masks(picture: Picture) -> None:
    masks = regions_from_file(written(picture, coco()), picture).dense_masks()
    assert masks.shape == (2, 30, 40)
    expected = np.zeros((30, 40), bool)
    expected[2:22, 1:11] = True
    np.testing.assert_array_equal(masks[0], expected)
    assert masks[1].sum() == 50


def test_one_annotation_without_a_mask_leaves_boxes_only(picture: Picture) -> None:
    data = coco()
    data["annotations"][1]["segmentation"] = []
    assert regions_from_file(written(picture, data), picture).masks is None


def test_a_document_keeps_its_provenance(picture: Picture) -> None:
    mask = np.zeros((1, 30, 40), bool)
    mask[0, 3:9, 4:20] = True
    original = Regions.from_masks(mask, "ground-truth", np.array([0.5], np.float32))
    read = regions_from_file(written(picture, original.to_json()), picture)
    assert read.source == "ground-truth"
    assert read.key == original.key


@pytest.mark.parametrize("data", [[], {"123": []}, {"images": [{"id": 1, "file_name": NAME}], "annotations": []}])
def test_no_boxes_are_an_answer(picture: Picture, data: Any) -> None:
    assert len(regions_from_file(written(picture, data), picture)) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"123": [[1, 2, 3, 1' + "0" * 400 + "]]}", "no known form"),
        ({"images": [{"id": 1, "file_name": NAME, "width": float("inf")}], "annotations": []}, "no known form"),
        ({"7": XYWH}, "'123'"),
        ([{"image_id": 7, "box": [0, 0, 1, 1]}], "'123'"),
        ([{"image": 123, "box": [0, 0, 1, 1]}], "no known form"),
        ([{"image_id": 123, "box": [0, 0, 1]}], "no known form"),
        ([{"image_id": 123, "box": [0, 0, 1, 1]}, 5], "no known form"),
        ({"123": [[1, 2, 3, 4, 5]] * 4}, "no known form"),
        ({"123": {"boxes": XYXY, "scores": [1, 1]}}, "no known form"),
        ({"123": None}, "no known form"),
        ({"images": [{"id": 1}], "annotations": []}, "no known form"),
        ({"images": 3, "annotations": []}, "no known form"),
        ({"images": [], "annotations": []}, "do not name"),
    ],
)
def test_unknown_forms(picture: Picture, data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        regions_from_file(written(picture, data), picture)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        5,
        "text",
        [[1, 2, 3]],
        [["a", "b", "c", "d"]],
        [[1, 2, 3, 4], [1, 2]],
        [[10, 10, 5, 5]],
        [[float("nan"), 1, 2, 3]],
        [[100, 100, 120, 120]],
        {"123": [[1, 2, -5, 3]]},
        {"size": [41, 30], "source": "file", "boxes": XYXY},
        coco(width=80, height=60),
    ],
)
def test_regions_that_make_no_sense(picture: Picture, data: Any) -> None:
    with pytest.raises(RegionError) as caught:
        regions_from_file(written(picture, json.dumps(data)), picture)
    assert "\n" not in str(caught.value)


SQUARE = [1, 2, 11, 2, 11, 22, 1, 22]


@pytest.mark.parametrize("far", [1e6, 2e7, 1e9, 1e300])
def test_corners_far_outside_of_the_picture_cost_nothing(picture: Picture, far: float) -> None:
    data = coco()
    data["annotations"][1]["segmentation"] = [[10, -far, far, -far, far, far, 10, far], SQUARE]
    expected = np.zeros((30, 40), bool)
    expected[:, 10:] = expected[2:22, 1:11] = True
    np.testing.assert_array_equal(regions_from_file(written(picture, data), picture).dense_masks()[0], expected)


@pytest.mark.parametrize(
    "polygon",
    [
        [float("nan"), *SQUARE[1:]],
        [*SQUARE[:-1], float("inf")],
        SQUARE[:-1],
        SQUARE[:4],
        [SQUARE],
        [10**400, *SQUARE[1:]],
        [-40, -30, 80, 60] * 500,
        {"size": [30, 40], "counts": [1200]},
    ],
)
def test_polygons_that_make_no_sense(picture: Picture, polygon: Any) -> None:
    data = coco()
    data["annotations"][1]["segmentation"] = [SQUARE, polygon]
    with pytest.raises(RegionError, match="neither polygons nor run lengths"):
        regions_from_file(written(picture, data), picture)


@pytest.mark.parametrize("segmentation", ["x", [["a"]], [[1, 2]], {"size": [3, 3], "counts": [9]}, {"counts": "x"}, 5])
def test_masks_that_make_no_sense(picture: Picture, segmentation: Any) -> None:
    data = coco()
    data["annotations"][1]["segmentation"] = segmentation
    with pytest.raises(FoveaError):
        regions_from_file(written(picture, data), picture)


def test_missing_files(picture: Picture, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            regions_from_file(path, picture)


def test_mask_from_a_picture(picture: Picture, tmp_path: Path) -> None:
    pixels = np.zeros((30, 40), np.uint8)
    pixels[4:9, 3:20] = 255
    pixels[20:, 20:] = 100
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    region = mask_from_file(tmp_path / "mask.png", picture)
    np.testing.assert_array_equal(region.dense_masks()[0], pixels > 127)
    np.testing.assert_array_equal(region.boxes, [[3, 4, 20, 9]])


def test_masks_from_pictures_that_do_not_fit(picture: Picture, tmp_path: Path) -> None:
    Image.new("L", (41, 30), 255).save(tmp_path / "large.png")
    Image.new("L", (40, 30), 100).save(tmp_path / "dark.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, error in (("large.png", RegionError), ("dark.png", RegionError), ("text.png", PictureError)):
        with pytest.raises(error):
            mask_from_file(tmp_path / name, picture)

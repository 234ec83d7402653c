"""ImageNet-S: annotations in any order, pictures in folders, and files that are not what they seem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.class_names import read_class_names
from fovea.datasets.imagenet_s import read_imagenet_s
from fovea.errors import DataError, RegionError
from fovea.regions import encode_masks, rle_to_json

#: A picture of 30 x 21 pixels: its centre crop begins at column 15 - 10 = 5.
WIDTH, HEIGHT = 30, 21
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def run_lengths(left: int, right: int, width: int = WIDTH) -> dict[str, Any]:
    mask = np.zeros((1, HEIGHT, width), bool)
    mask[0, 3:9, left:right] = True
    return rle_to_json(encode_masks(mask)[0])


def row(category: str, number: int, mask: dict[str, Any]) -> dict[str, Any]:
    return {"category_word": category, "image_pth": f"data/{category}/val_{number}.png", "mask": mask}


ROWS = [
    row("n02", 1, run_lengths(4, 12)),
    row("n01", 2, run_lengths(20, 29)),
    # Not grouped by class: the released program would number this one anew.
    row("n02", 3, run_lengths(0, 5)),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for category, number in (("n02", 1), ("n01", 2), ("n02", 3)):
        (tmp_path / category).mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / category / f"val_{number}.png")
    (tmp_path / "imagenet_919.json").write_text(json.dumps(ROWS))
    (tmp_path / "class_names.json").write_text('{"n01": ["great_grey_owl", "Strix"], "n02": "tench"}')
    return tmp_path


def test_pictures_and_masks_are_cropped_together(data: Path) -> None:
    benchmark = read_imagenet_s(data)
    assert [(one.name, one.text) for one in benchmark.classes] == [("n01", "great grey owl"), ("n02", "tench")]
    assert (benchmark.template, benchmark.split) == ("a photo of a {}.", "imagenet-s")
    named = benchmark.pictures[0].open()
    np.testing.assert_array_equal(named.picture.pixels, PIXELS[:, 5:26])
    expected = np.zeros((HEIGHT, HEIGHT), bool)
    expected[3:9, 0:7] = True
    np.testing.assert_array_equal(named.regions.dense_masks()[0], expected)
    assert [picture.open().classes for picture in benchmark.pictures] == [(1,), (0,), (1,)]


def test_a_mask_that_the_crop_loses_is_the_whole_picture_and_says_so(data: Path) -> None:
    named = read_imagenet_s(data).pictures[2].open()
    assert named.regions.dense_masks().all()
    assert "outside of the centre crop" in named.regions.source


def test_the_order_and_the_limit_change_no_class(data: Path) -> None:
    whole = read_imagenet_s(data)
    few = read_imagenet_s(data, limit=1)
    assert few.classes == whole.classes
    assert [picture.key for picture in few.pictures] == [whole.pictures[0].key]
    (data / "turned.json").write_text(json.dumps(ROWS[::-1]))
    turned = read_imagenet_s(data, "turned")
    assert turned.classes == whole.classes
    assert [picture.open().classes for picture in turned.pictures] == [(1,), (0,), (1,)]
    assert turned.origin != whole.origin


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"n01": "great_grey_owl", "n02": ["tench", "Tinca tinca"]}', {"n01": "great grey owl", "n02": "tench"}),
        ('{"0": ["n01", "Owl"], "1": ["n02", "tench"]}', {"n01": "owl", "n02": "tench"}),
        ("n01 great grey owl, Strix\nn02\ttench, Tinca tinca\n", {"n01": "great grey owl", "n02": "tench"}),
    ],
)
def test_names_come_in_several_forms(tmp_path: Path, text: str, names: dict[str, str]) -> None:
    path = tmp_path / "names"
    path.write_text(text)
    assert read_class_names(path) == names


@pytest.mark.parametrize("text", ["", "{}", "n01", '{"n01": 3}', '{"n01": []}', "{", '{"n01": "_"}'])
def test_what_names_nothing_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names"
    path.write_text(text)
    with pytest.raises(DataError, match="class"):
        read_class_names(path)


def test_what_is_missing_is_said(data: Path) -> None:
    (data / "class_names.json").write_text('{"n01": "owl"}')
    with pytest.raises(DataError, match="no name for 1 classes, such as n02"):
        read_imagenet_s(data)
    (data / "class_names.json").unlink()
    with pytest.raises(DataError, match="use --class-names"):
        read_imagenet_s(data)
    (data / "names.txt").write_text("n01 owl\nn02 tench")
    benchmark = read_imagenet_s(data, names=data / "names.txt")
    (data / "n02" / "val_1.png").unlink()
    with pytest.raises(DataError, match=r"holds no picture val_1\.png"):
        benchmark.pictures[0].open()


@pytest.mark.parametrize(
    "rows",
    [
        {"n01": []},
        [1],
        [{"category_word": "n01", "image_pth": "a.png"}],
        [{"category_word": "../n01", "image_pth": "a.png", "mask": {}}],
        [{"category_word": "n01", "image_pth": "..", "mask": {}}],
        [{"category_word": "n01", "image_pth": "a.png", "mask": "x"}],
    ],
)
def test_other_files_are_one_clear_error(data: Path, rows: Any) -> None:
    (data / "imagenet_919.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="no annotations of ImageNet-S"):
        read_imagenet_s(data)


def test_nothing_outside_of_the_data_is_opened(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    Image.fromarray(PIXELS).save(secret)
    for name in (str(secret), f"../{secret.parent.name}/secret.png", "../../etc/passwd"):
        rows = [{"category_word": "n01", "image_pth": name, "mask": run_lengths(4, 9)}]
        (data / "imagenet_919.json").write_text(json.dumps(rows))
        with pytest.raises(DataError, match="holds no picture"):
            read_imagenet_s(data).pictures[0].open()


def test_a_mask_of_other_sides_fails_its_picture_alone(data: Path) -> None:
    (data / "imagenet_919.json").write_text(json.dumps([row("n02", 1, run_lengths(4, 9, width=31)), ROWS[1]]))
    first, second = read_imagenet_s(data).pictures
    with pytest.raises(RegionError, match="31 x 21 pixels"):
        first.open()
    assert second.open().classes == (0,)

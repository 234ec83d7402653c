"""One text per region: what captioners are shown of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.cli import describe
from fovea.describer import alpha_planes, describe_regions, padded_square, view_of
from fovea.pictures import open_picture
from fovea.regions import Regions

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
PICTURE = open_picture(PIXELS)
BOXES = Regions.from_boxes([[4, 2, 12, 6], [0, 0, 20, 10]], PICTURE.size)


class Recorder:
    """Remembers what it is shown and calls it by number."""

    key = "recorder"
    image_size = 20

    def __init__(self, has_alpha: bool, padded: bool) -> None:
        self.has_alpha, self.padded = has_alpha, padded
        self.pictures: list[np.ndarray] = []
        self.alphas: list[np.ndarray] = []

    def caption(self, pictures: np.ndarray) -> list[str]:
        self.pictures += [*pictures]
        return [f"crop {index}" for index in range(len(pictures))]

    def describe(self, pictures: np.ndarray, alphas: np.ndarray) -> list[str]:
        self.pictures += [*pictures]
        self.alphas += [*alphas]
        return [f"region {index}" for index in range(len(pictures))]


def test_a_captioner_without_alpha_sees_crops() -> None:
    captioner = Recorder(has_alpha=False, padded=False)
    assert view_of(captioner) == "crop"
    halves = np.zeros((10, 20, 3), np.uint8)
    halves[:, :10, 0], halves[:, 10:, 2] = 200, 200
    sides = Regions.from_boxes([[1, 2, 8, 6], [13, 0, 20, 10]], PICTURE.size)
    assert describe_regions(captioner, open_picture(halves), sides) == ["crop 0", "crop 1"]
    assert captioner.pictures[0].shape == (20, 20, 3)
    assert (captioner.pictures[0] == (200, 0, 0)).all()
    assert (captioner.pictures[1] == (0, 0, 200)).all()
    assert describe_regions(captioner, PICTURE, BOXES.select([])) == []


def test_alpha_and_picture_are_squashed_together() -> None:
    captioner = Recorder(has_alpha=True, padded=False)
    assert view_of(captioner) == "alpha"
    assert describe_regions(captioner, PICTURE, BOXES) == ["region 0", "region 1"]
    expected = np.zeros((20, 20), np.float32)
    # Twice as high as it was, and as wide.
    expected[4:12, 4:12] = 1
    np.testing.assert_array_equal(captioner.alphas[0], expected)
    np.testing.assert_array_equal(captioner.pictures[0], captioner.pictures[1])
    assert captioner.alphas[1].all()


def test_a_margin_is_background() -> None:
    captioner = Recorder(has_alpha=True, padded=True)
    describe_regions(captioner, PICTURE, BOXES)
    np.testing.assert_array_equal(captioner.pictures[0][5:15], PIXELS)
    assert (captioner.pictures[0][:5] == (122, 116, 104)).all()
    expected = np.zeros((20, 20), np.float32)
    expected[7:11, 4:12] = 1
    np.testing.assert_array_equal(captioner.alphas[0], expected)
    # Not even the whole picture covers it.
    assert captioner.alphas[1][5:15].all()
    assert not captioner.alphas[1][:5].any()


def test_masks_are_taken_where_they_are() -> None:
    masks = np.zeros((1, 10, 20), bool)
    masks[0, 3, 4:9] = True
    square, moved = padded_square(PICTURE, Regions.from_masks(masks))
    assert square.size == (20, 20)
    np.testing.assert_array_equal(moved.boxes, [[4, 8, 9, 9]])
    _, alphas = alpha_planes(Recorder(has_alpha=True, padded=True), square, moved)
    assert alphas.sum() == 5


def test_the_command_describes_what_is_pointed_at(
    tiny_llava_directory: Path, alpha_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "picture.png")
    (tmp_path / "boxes.json").write_text("[[4, 2, 12, 6], [0, 0, 9, 9]]")
    describe.run(
        tmp_path / "picture.png",
        boxes=tmp_path / "boxes.json",
        models=str(tiny_llava_directory),
        as_json=True,
        device="cpu",
    )
    document = json.loads(capsys.readouterr().out)
    assert document["view"] == "crop"
    assert document["models"] == str(tiny_llava_directory)
    assert [region["box"] for region in document["regions"]] == [[4, 2, 12, 6], [0, 0, 9, 9]]
    assert all(isinstance(region["text"], str) for region in document["regions"])
    describe.run(tmp_path / "picture.png", boxes=tmp_path / "boxes.json", models=str(tiny_llava_directory))
    assert "2 regions from file, shown by crop" in capsys.readouterr().out
    # Beside a CLIP with an alpha plane it looks through that one's picture tower.
    describe.run(
        tmp_path / "picture.png",
        boxes=tmp_path / "boxes.json",
        models=f"{tiny_llava_directory},{alpha_directory}",
        device="cpu",
    )
    assert "2 regions from file, shown by alpha" in capsys.readouterr().out

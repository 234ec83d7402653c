"""Opening pictures: every source and mode, upright, within limits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.errors import PictureError
from fovea.pictures import Picture, open_cut_out, open_picture

RAMP = np.dstack([np.tile(np.arange(12, dtype=np.uint8) * 20, (8, 1))] * 3)
RAMP[..., 1] = 77


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_all_sources_give_the_same_picture(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP)
    path = tmp_path / "ramp.png"
    path.write_bytes(encoded(image))
    pictures = [open_picture(source) for source in (path, str(path), path.read_bytes(), image, RAMP, RAMP / 255.0)]
    assert len({picture.key for picture in pictures}) == 1
    assert pictures[0].size == (12, 8)
    assert pictures[0].path == str(path)
    np.testing.assert_array_equal(pictures[0].pixels, RAMP)
    assert open_picture(pictures[0]) is pictures[0]
    with pytest.raises(ValueError, match="read-only"):
        pictures[0].pixels[0, 0, 0] = 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    # The stored pixels are the upright ones, turned the way that the tag says.
    turns = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = Image.fromarray(RAMP)
    if turns[orientation] is not None:
        stored = stored.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(open_picture(encoded(stored, exif=exif)).pixels, RAMP)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    gray = Image.fromarray(RAMP[..., 0])
    image = Image.new("I;16", (12, 8), 300) if mode == "I;16" else gray.convert(mode) if mode != "LAB" else None
    if image is None:
        image = Image.new("LAB", (12, 8))
    picture = open_picture(image)
    assert picture.image.mode == "RGB"
    assert picture.size == (12, 8)


def test_sixteen_bits_are_scaled() -> None:
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    expected = [0, 100, 255]
    assert open_picture(values).pixels[0, :, 0].tolist() == expected
    assert open_picture(encoded(Image.fromarray(values))).pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([0, 1.5, 255], np.float32, [0, 2, 255]),
        ([0, 25700, 65535], np.float32, [0, 100, 255]),
        ([0, 1, 255], np.int32, [0, 1, 255]),
        ([0, 257, 514], np.int32, [0, 1, 2]),
    ],
)
def test_pictures_of_32_bits_do_not_say_their_range(values: list, kind: type, expected: list) -> None:
    image = Image.fromarray(np.array([values], kind))
    assert open_picture(image).pixels[0, :, 0].tolist() == expected
    assert open_picture(encoded(image, "TIFF")).pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("value", [-1, 70_000, float("nan"), float("inf")])
def test_ranges_that_make_no_sense(value: float) -> None:
    with pytest.raises(PictureError, match="holds values from"):
        open_picture(Image.fromarray(np.array([[0.5, value]], np.float32)))


def test_transparency_lies_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    assert open_picture(image).pixels[0].tolist() == [[255, 255, 255], [255, 0, 0]]


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_picture(data).pixels[0, 0].tolist() == [255, 0, 0]


def test_the_limit_is_checked_for_every_source() -> None:
    for source in (RAMP, Image.fromarray(RAMP), encoded(Image.fromarray(RAMP)), open_picture(RAMP)):
        with pytest.raises(PictureError, match="more than the limit"):
            open_picture(source, max_pixels=95)
        assert open_picture(source, max_pixels=96).size == (12, 8)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((2, 2), np.int64), "type"),
        (np.full((2, 2), 1.5), "0 to 1"),
        (np.full((2, 2), np.nan), "0 to 1"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        open_picture(array)


def test_blank_means_one_colour() -> None:
    assert open_picture(np.full((5, 5, 3), 9, np.uint8)).is_blank
    assert not open_picture(RAMP).is_blank


def test_keys_tell_pictures_apart() -> None:
    wide, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert open_picture(wide).key != open_picture(tall).key
    assert isinstance(open_picture(wide), Picture)


@pytest.mark.parametrize(
    ("at_least", "size"), [(None, (640, 480)), (200, (320, 240)), (60, (80, 60)), (700, (640, 480))]
)
def test_large_photographs_may_be_decoded_in_part(at_least: int | None, size: tuple[int, int]) -> None:
    whole = Image.fromarray(RAMP).resize((640, 480), Image.Resampling.BICUBIC)
    found = open_picture(encoded(whole, "JPEG", quality=95), at_least=at_least)
    assert found.size == size
    wanted = np.asarray(whole.resize(size, Image.Resampling.BOX), float)
    assert np.abs(found.pixels - wanted).mean() < 2
    assert open_picture(encoded(whole), at_least=at_least).size == (640, 480)


def test_cut_outs_keep_their_transparency(tmp_path: Path) -> None:
    pixels = np.dstack([RAMP, np.tile(np.arange(12, dtype=np.uint8) * 20, (8, 1))])
    Image.fromarray(pixels).save(tmp_path / "thing.png")
    np.testing.assert_array_equal(np.asarray(open_cut_out(tmp_path / "thing.png")), pixels)
    Image.fromarray(RAMP).save(tmp_path / "whole.png")
    assert np.asarray(open_cut_out(tmp_path / "whole.png"))[..., 3].min() == 255
    (tmp_path / "bad.png").write_bytes(encoded(Image.fromarray(pixels))[:60])
    with pytest.raises(PictureError):
        open_cut_out(tmp_path / "bad.png")

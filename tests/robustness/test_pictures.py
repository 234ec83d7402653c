"""Hostile and damaged pictures: an answer or one clear error, never anything else."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fovea.errors import PictureError
from fovea.pictures import open_picture

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(kind: str, image: Image.Image = NOISE, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(50_000, 50_000), (9_000, 9_000), (1, 2_000_000_000)])
def test_bombs_are_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError):
        open_picture(bomb(*size))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8",
    ],
)
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files(kind: str) -> None:
    data = encoded(kind)
    assert open_picture(data).size == (60, 40)
    with pytest.raises(PictureError):
        open_picture(data[: len(data) // 3])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_mutated_bytes_give_a_picture_or_one_clear_error(kind: str) -> None:
    data = np.frombuffer(encoded(kind), np.uint8)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mutated = data.copy()
        places = rng.integers(0, len(data), rng.integers(1, 20))
        mutated[places] = rng.integers(0, 256, len(places))
        with contextlib.suppress(PictureError):
            assert open_picture(mutated.tobytes()).image.mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (1, 8000), (8000, 1)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    assert open_picture(Image.new("RGB", size)).size == size


def test_paths_that_hold_no_picture(tmp_path: Path) -> None:
    wrong = tmp_path / "picture.png"
    wrong.write_text("words")
    for source in (
        tmp_path,
        tmp_path / "missing.png",
        wrong,
        "http://example.org/a.png",
        "file:///etc/passwd",
        "a\0b",
        "a" * 10_000,
    ):
        with pytest.raises(PictureError) as caught:
            open_picture(source)
        assert "\n" not in str(caught.value)
    right = tmp_path / "jpeg-inside.png"
    right.write_bytes(encoded("JPEG"))
    assert open_picture(right).size == (60, 40)


def test_an_unreadable_folder_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Root may read every folder, so the system's refusal is played.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.stat", refuse)
    with pytest.raises(PictureError, match="no picture at"):
        open_picture(tmp_path / "picture.png")


@pytest.mark.parametrize("kind", ["EPS", "PDF"])
def test_formats_that_run_other_programs_are_not_opened(kind: str) -> None:
    with pytest.raises(PictureError, match="UnidentifiedImageError"):
        open_picture(encoded(kind))


@pytest.mark.parametrize("kind", ["AVIF", "ICO", "JPEG2000", "PCX", "PPM", "TGA"])
def test_other_formats_of_pictures_are_opened(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    assert open_picture(encoded(kind, NOISE.resize((32, 32)))).size == (32, 32)


@pytest.mark.parametrize("source", [None, 3, [1, 2], {"a": 1}])
def test_wrong_types(source: object) -> None:
    with pytest.raises(PictureError, match="is no picture"):
        open_picture(source)  # type: ignore[arg-type]


def test_a_broken_colour_profile_does_not_matter() -> None:
    assert open_picture(encoded("PNG", icc_profile=b"broken")).size == (60, 40)

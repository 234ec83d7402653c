"""Described pictures from shards and folders."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.datasets.region_text_shards import ShardIndex
from fovea.errors import DataError
from fovea.regions import decode_masks, encode_masks, rle_to_json

MASK = np.array([[1, 0, 0], [1, 1, 0]], bool)


def description(text: str = "cat", **changes: Any) -> dict[str, Any]:
    region = {"text": text, "mask": rle_to_json(encode_masks(MASK[None])[0]), "box": [0, 0, 2, 2], "score": 0.5}
    return {"caption": " a cat ", "regions": [region, region | {"text": "dog"}]} | changes


def members(key: str, **changes: Any) -> dict[str, bytes]:
    return {f"{key}.jpg": key.encode(), f"{key}.json": json.dumps(description(key, **changes)).encode()}


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def test_shards_folders_and_loose_files_hold_the_same(tmp_path: Path) -> None:
    first, second = members("a") | members("b"), members("c", caption=None)
    kinds = [tmp_path / name for name in ("tars", "folders", "loose")]
    for kind in kinds:
        kind.mkdir()
        # Of no picture, and of nothing that is whole.
        (kind / "about.json").write_text("{}")
        (kind / ".d.tar.part").write_bytes(b"half")
    write_tar(kinds[0] / "x-0.tar", first)
    write_tar(kinds[0] / "x-1.tar", second)
    write_folder(kinds[1] / "x-0", first)
    write_folder(kinds[1] / "x-1", second)
    write_folder(kinds[2], first | second)
    for kind in kinds:
        index = ShardIndex(kind)
        assert (len(index), index.regions, index.captions) == (3, 6, 2)
        assert [index[number].picture for number in (2, 0, 1)] == [b"c", b"a", b"b"]
        assert [index[number].caption for number in range(3)] == ["a cat", "a cat", ""]
        read = index[1]
        assert (read.key, read.suffix, [region.text for region in read.regions]) == ("b", "jpg", ["b", "dog"])
        assert read.regions[0].box == (0, 0, 2, 2)
        assert read.regions[0].score == 0.5
        np.testing.assert_array_equal(decode_masks([read.regions[0].mask])[0], MASK)


def test_pictures_without_regions_are_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path, members("a") | members("b", regions=[]))
    assert len(ShardIndex(tmp_path)) == 1


def test_names_in_shards_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    path = write_tar(tmp_path / "x.tar", members("../up") | members("/root/a"))
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = kind, "secret.txt"
            tar.addfile(link)
    index = ShardIndex(tmp_path)
    # Read by their place in the shard, whatever they are called; links are nothing.
    assert [index[number].picture for number in range(len(index))] == [b"../up", b"/root/a"]
    assert not (tmp_path.parent / "up.jpg").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no described pictures"),
        ({"a.jpg": b""}, "no description 'a.json'"),
        ({"a.jpg": b"", "a.png": b"", "a.json": b"{}"}, "two pictures"),
        ({"a.jpg": b"", "a.json": b"{"}, "cannot be read"),
        ({"a.jpg": b"", "a.json": b"[]"}, "cannot be read"),
        ({"a.jpg": b"", "a.json": b'{"regions": 3}'}, "cannot be read"),
        ({"a.jpg": b"", "a.json": b'{"caption": 3, "regions": []}'}, "cannot be read"),
    ],
)
def test_what_is_no_data_is_refused(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", files)
    with pytest.raises(DataError, match=message):
        ShardIndex(tmp_path)


@pytest.mark.parametrize(
    "region",
    [
        3,
        {},
        {"text": " "},
        {"box": [1, 2, 3]},
        {"box": [float("nan")] * 4},
        {"mask": {"size": [2, 3], "counts": "zzz"}},
        {"mask": "x"},
        {"score": "much"},
    ],
)
def test_a_region_that_makes_no_sense_is_refused_when_it_is_read(region: Any, tmp_path: Path) -> None:
    good = description()["regions"][0]
    row = good | region if isinstance(region, dict) and region else region
    write_folder(tmp_path, members("a", regions=[row]))
    with pytest.raises(DataError, match="the regions of a cannot be read"):
        ShardIndex(tmp_path)[0]


def test_damaged_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        ShardIndex(tmp_path / "nowhere")
    whole = write_tar(tmp_path / "x.tar", members("a") | {"z.jpg": bytes(5000)}).read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:4000])
    with pytest.raises(DataError, match=r"ends too early|no tar file"):
        ShardIndex(tmp_path)
    write_tar(tmp_path / "x.tar", members("a"), "w:gz")
    with pytest.raises(DataError, match="without compression"):
        ShardIndex(tmp_path)


def test_a_shard_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", members("a"))
    index = ShardIndex(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="ends too early"):
        index[0]


@pytest.mark.parametrize("ruin", [lambda whole, end: whole[:end], lambda whole, end: whole[:end] + b"?" * 512])
def test_a_shard_without_its_end_is_refused(ruin: Callable[[bytes, int], bytes], tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", members("a"))
    with tarfile.open(path) as tar:
        tar.getmembers()
        end = tar.offset
    assert len(ShardIndex(tmp_path)) == 1
    path.write_bytes(ruin(path.read_bytes(), end))
    with pytest.raises(DataError, match="damaged"):
        ShardIndex(tmp_path)

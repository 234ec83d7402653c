"""Shards: streams of members, and members that nobody should write anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fovea.datasets import shards
from fovea.datasets.shards import FolderShard, Sample, TarShard, count_samples, read_shard
from fovea.errors import DataError

WANTED = frozenset({"jpg", "json"})


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w", *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in others:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def contents(samples: list[Sample]) -> list[tuple[str, dict[str, bytes]]]:
    return [(sample.key, dict(sample.members)) for sample in samples]


MEMBERS = {"./a.jpg": b"1", "a.json": b"2", "b/c.JPG": b"3", "b/c.txt": b"-", "b/c.json": b"4", "d.json": b"5"}
SAMPLES = [("a", {"jpg": b"1", "json": b"2"}), ("b/c", {"jpg": b"3", "json": b"4"}), ("d", {"json": b"5"})]


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz"), ("s.tar.xz", "w:xz")])
def test_members_are_joined_by_name(tmp_path: Path, name: str, mode: str) -> None:
    path = write_tar(tmp_path / name, MEMBERS, mode)
    assert contents(list(read_shard(path, WANTED))) == SAMPLES
    assert count_samples(path, WANTED) == 3


@pytest.mark.parametrize("form", [TarShard, FolderShard])
def test_what_is_written_is_read_and_visible_only_when_whole(
    tmp_path: Path, form: type[TarShard] | type[FolderShard]
) -> None:
    samples = [("a-1", {"jpg": b"1" * 1000, "json": b"2"}), ("b", {"jpg": b"", "json": b"4"})]
    # What a kill left behind is no hindrance.
    form(tmp_path / "s").add("old", {"jpg": b"old"})
    writer = form(tmp_path / "s")
    for key, members in samples:
        writer.add(key, members)
    assert not (tmp_path / "s").exists()
    writer.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert contents(list(read_shard(tmp_path / "s", WANTED))) == samples


def test_hostile_members_are_refused_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LARGEST_MEMBER", 1000)
    link, hard, pipe, large = (tarfile.TarInfo(f"{name}.jpg") for name in ("link", "hard", "pipe", "large"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "a.jpg"
    pipe.type, large.size = tarfile.FIFOTYPE, 1001
    last = tarfile.TarInfo("z.jpg")
    names = {"a.jpg": b"1", "../x.jpg": b"2", "/etc/y.jpg": b"3", "b/../../z.jpg": b"4", "..\\w.jpg": b"5"}
    path = write_tar(tmp_path / "s.tar", names, "w", link, hard, pipe, large, last)
    samples = list(read_shard(path, WANTED))
    assert sorted(sample.key for sample in samples if not sample.problem) == ["a", "z"]
    refused = {sample.key: sample.problem for sample in samples if sample.problem}
    assert len(refused) == 8
    assert all("refused" in problem for problem in refused.values())
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar"]


@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz"])
def test_a_shard_that_is_cut_off_gives_what_is_whole(tmp_path: Path, name: str) -> None:
    noise = {f"{key}.jpg": os.urandom(5000) for key in "abcdefgh"}
    path = write_tar(tmp_path / name, noise, "w:gz" if name.endswith("gz") else "w")
    path.write_bytes(path.read_bytes()[:20_000])
    samples = list(read_shard(path, WANTED))
    assert 1 <= len(samples) - 1 < 8
    assert all(noise[f"{sample.key}.jpg"] == sample.members["jpg"] for sample in samples if not sample.problem)
    assert [sample.key for sample in samples if sample.problem] == [name]


def test_what_is_no_shard_is_said(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_text("no tar file at all")
    assert "damaged" in next(read_shard(tmp_path / "s.tar", WANTED)).problem
    with pytest.raises(DataError, match="cannot be read"):
        next(read_shard(tmp_path / "missing.tar", WANTED))


def damaged(whole: bytes, how: str) -> bytes:
    """Three members of one kilobyte each in all: cut off in front of the third, or with a header of noise there."""
    if how == "no end":
        return whole[:3072]
    if how == "cut":
        return whole[:2048]
    if how == "cut in a header":
        return whole[:2100]
    return whole[:2048] + b"\xff" * 512 + whole[2560:]


@pytest.mark.parametrize("packing", ["", "gz", "xz", "bz2"])
@pytest.mark.parametrize(("how", "left"), [("no end", 3), ("cut", 2), ("cut in a header", 2), ("noise", 2)])
def test_the_end_of_a_shard_must_be_there(tmp_path: Path, how: str, left: int, packing: str) -> None:
    data = damaged(write_tar(tmp_path / "s.tar", {f"{key}.jpg": b"x" for key in "abc"}).read_bytes(), how)
    packed = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}.get(packing, bytes)(data)
    (tmp_path / "s.tar").write_bytes(packed)
    samples = list(read_shard(tmp_path / "s.tar", WANTED))
    assert [sample.key for sample in samples] == [*"abc"[:left], "s.tar"]
    assert [bool(sample.problem) for sample in samples] == [False] * left + [True]
    assert count_samples(tmp_path / "s.tar", WANTED) == left + 1


@pytest.mark.parametrize("packing", [gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("ruined", [False, True])
def test_samples_of_damaged_compressed_shards_are_counted(
    tmp_path: Path, packing: Callable[[bytes], bytes], ruined: bool
) -> None:
    noise = {f"{key}.jpg": os.urandom(5000) for key in "abcdefgh"}
    packed = packing(write_tar(tmp_path / "s.tar", noise).read_bytes())
    (tmp_path / "s.tar").write_bytes(packed[:20_000] + (os.urandom(20_000) if ruined else b""))
    samples = list(read_shard(tmp_path / "s.tar", WANTED))
    assert samples[-1].problem
    assert len(samples) <= count_samples(tmp_path / "s.tar", WANTED) <= len(noise) + 1


def test_sizes_that_lead_back_are_damage(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "s.tar", {"a.jpg": b"1", "b.jpg": b"2"}).read_bytes())
    # A negative number of bytes, and the sum over the header that fits to it.
    data[1024 + 124 : 1024 + 136] = (-1536 & (1 << 96) - 1).to_bytes(12, "big")
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    (tmp_path / "s.tar").write_bytes(data)
    assert count_samples(tmp_path / "s.tar", WANTED) == 2
    samples = list(read_shard(tmp_path / "s.tar", WANTED))
    assert ([sample.key for sample in samples], bool(samples[1].problem)) == (["a", "s.tar"], True)

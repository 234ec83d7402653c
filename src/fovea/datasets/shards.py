"""Shards: samples of several files each, in tar files as WebDataset has them or in folders, read and written in order.

Nothing is unpacked: tar files are read as streams, and no name in them ever becomes a path.
"""

from __future__ import annotations

import io
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from fovea.errors import DataError

#: Largest member that is read, in bytes.
LARGEST_MEMBER = 256 * 2**20

# What the modules of the library raise for bytes that make no sense.
_DAMAGE = (tarfile.TarError, EOFError, ValueError, ArithmeticError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, eq=False)
class Sample:
    """Files that belong together.

    Attributes:
        key: what their names begin with, as the shard has it.
        members: their bytes by suffix, in lower case and without the dot.
        problem: why the sample, or what follows in the shard, cannot be read; empty where all is well.
    """

    key: str
    members: Mapping[str, bytes] = field(default_factory=dict)
    problem: str = ""


def read_shard(place: Path, suffixes: frozenset[str]) -> Iterator[Sample]:
    """The samples of a tar file, plain or compressed, or of a folder, in their order.

    Args:
        place: the file or folder. Members of one sample stand side by side, their names equal up to the first dot.
        suffixes: of the members that are wanted; all others are passed over.

    Yields:
        Every sample; one with a problem for every member that is refused (links, devices, names that lead out of the
        shard, members of endless size), and a last one where the file is damaged.

    Raises:
        DataError: the place cannot be read at all.
    """
    pieces = _folder_members(place, suffixes) if place.is_dir() else _tar_members(place, suffixes)
    key, members = "", dict[str, bytes]()
    for name, data in pieces:
        if isinstance(data, _Refusal):
            if data.last and members:
                yield Sample(key, members)
                members = {}
            yield Sample(name, problem=data.reason)
            continue
        start, suffix = _parts(name)
        if start != key and members:
            yield Sample(key, members)
            members = {}
        key = start
        members[suffix] = data
    if members:
        yield Sample(key, members)


def count_samples(place: Path, suffixes: frozenset[str]) -> int:
    """How many samples :func:`read_shard` would give, without reading the members of an uncompressed tar file.

    Members that are refused do not count, damage counts as one. A member that is cut off may count beside it.

    Raises:
        DataError: the place cannot be read.
    """
    keys, before = 0, ""
    try:
        with tarfile.open(place, "r:*") as tar:
            for member in walk(tar):
                key, suffix = _parts(member.name)
                keys += suffix in suffixes and key != before
                before = key if suffix in suffixes else before
    except _DAMAGE:
        # What is whole in front of the damage is there all the same.
        keys += 1
    except OSError as error:
        if error.errno is not None:
            raise _unreadable(place, error) from error
        keys += 1
    return keys


class _Header(tarfile.TarInfo):
    """Headers that make no sense are errors everywhere, and not only at the beginning of a file."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile, /) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from error


def walk(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file, read as a stream or not, up to the block of zeros that ends it.

    The module takes whatever is no header for the end: a file that is cut off between two members, or damaged in a
    header, would be a whole one.

    Raises:
        tarfile.TarError: no such block is where the members end. Compressed files raise errors of their own too.
    """
    tar.tarinfo = _Header
    while (member := tar.next()) is not None:
        # The module remembers every member that it has seen.
        tar.members.clear()  # type: ignore[attr-defined]
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name!r} has less than no bytes")
        yield member


@dataclass(frozen=True)
class _Refusal:
    """Why a member is not read.

    Attributes:
        reason: in words.
        last: whether nothing behind it can be read either.
    """

    reason: str
    last: bool = False


def _damaged(error: Exception) -> _Refusal:
    return _Refusal(f"the shard is damaged from here on ({error})", last=True)


def _parts(name: str) -> tuple[str, str]:
    """Key and suffix of a member: its folders belong to the key, which ends at the first dot of the name."""
    path = PurePosixPath(name)
    start, _, suffix = path.name.partition(".")
    return str(path.with_name(start)) if start else name, suffix.lower()


def _unreadable(place: Path, error: OSError) -> DataError:
    return DataError(f"{place} cannot be read ({error.strerror or error})", "check the path")


def _folder_members(folder: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, bytes | _Refusal]]:
    for path in sorted(folder.iterdir(), key=lambda path: _parts(path.name)):
        if _parts(path.name)[1] in suffixes:
            yield path.name, read_member(path)


def read_member(path: Path) -> bytes:
    """The bytes of a file that may be a member.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST_MEMBER:
            raise DataError(f"{path.name} has more than {LARGEST_MEMBER // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _tar_members(path: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, bytes | _Refusal]]:
    try:
        with path.open("rb") as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as tar:
                    yield from _members(tar, suffixes)
            except _DAMAGE as error:
                yield path.name, _damaged(error)
    except OSError as error:
        # gzip and its like raise these for damage, without the number that the system gives to errors of its own.
        if error.errno is not None:
            raise _unreadable(path, error) from error
        yield path.name, _damaged(error)


def _members(tar: tarfile.TarFile, suffixes: frozenset[str]) -> Iterator[tuple[str, bytes | _Refusal]]:
    for member in walk(tar):
        refused = _refused(member)
        if member.isdir():
            continue
        if refused:
            yield member.name, _Refusal(refused)
        elif _parts(member.name)[1] in suffixes:
            file = tar.extractfile(member)
            data = b"" if file is None else file.read()
            if len(data) != member.size:
                raise tarfile.ReadError(f"{member.name!r} is cut off")
            yield member.name, data


def _refused(member: tarfile.TarInfo) -> str:
    """Why a member is not read; empty for the usual."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        return f"the member {member.name!r} is refused: its name leads out of the shard"
    if not member.isreg() and not member.isdir():
        return f"the member {member.name!r} is refused: it is no file but a link or a device"
    if member.size > LARGEST_MEMBER:
        return f"the member {member.name!r} is refused: it has more than {LARGEST_MEMBER // 2**20} MiB"
    return ""


class ShardWriter(Protocol):
    """Writes a shard beside its place and renames it when it is whole."""

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Write the files of one sample."""
        ...

    def commit(self) -> None:
        """Put the shard in its place."""
        ...


def part_of(place: Path) -> Path:
    """Where a shard or file is written until it is whole. Always the same place: nothing is left behind by a kill."""
    return place.with_name(f".{place.name}.part")


class TarShard:
    """A :class:`ShardWriter` of tar files that are equal for equal samples: no times, no owners.

    Args:
        place: where it goes.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._part = place, part_of(place)
        self._file = self._part.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """See :class:`ShardWriter`."""
        for suffix, data in members.items():
            info = tarfile.TarInfo(f"{key}.{suffix}")
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))

    def commit(self) -> None:
        """See :class:`ShardWriter`."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._place)


class FolderShard:
    """A :class:`ShardWriter` of folders.

    Args:
        place: where it goes; nothing must be there.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._part = place, part_of(place)
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """See :class:`ShardWriter`."""
        for suffix, data in members.items():
            with (self._part / f"{key}.{suffix}").open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def commit(self) -> None:
        """See :class:`ShardWriter`."""
        self._part.replace(self._place)

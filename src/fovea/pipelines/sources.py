"""What ``SOURCE`` means, and how it is cut into units."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fovea.datasets.region_texts import PICTURE_SUFFIXES
from fovea.errors import DataError
from fovea.pipelines.units import FolderBlock, Kind, SceneBlock, ShardUnit, SourceUnit
from fovea.scenes.scene import DEFAULT_SIZE

_SCENES = re.compile(r"scenes:(\d{1,12})\+(\d{1,9})(?:@(\d{1,5}))?")
_SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Sides that scenes can have: fewer pixels show nothing.
_LEAST_SIDE, _MOST_SIDE = 32, 4096


@dataclass(frozen=True)
class Plan:
    """All the work.

    Attributes:
        units: in the order of the sources; the number of a unit is its place here.
        sources: what they come from, in words that differ for different pictures.
        cut: how they are cut into units, in words.
    """

    units: tuple[SourceUnit, ...]
    sources: tuple[str, ...]
    cut: str


def make_plan(sources: Sequence[str], per_shard: int, classes: Mapping[str, str], limit: int | None = None) -> Plan:
    """Cut sources into units.

    Args:
        sources: each ``scenes:FIRST+COUNT`` or ``scenes:FIRST+COUNT@SIDE``, or a tar file, a folder of tar files, or a
            folder of pictures, behind ``grounding:`` (which may be left out) or ``classified:``.
        per_shard: pictures of a unit, where a source has no shards of its own.
        classes: from folders and numbers to the names of classes.
        limit: how many pictures at most.

    Raises:
        DataError: a source is not there, or holds nothing.
    """
    units, words = list[SourceUnit](), list[str]()
    for source in sources:
        found, word = _scenes(source, per_shard) if source.startswith("scenes:") else _disk(source, per_shard, classes)
        units += found
        words.append(word)
    cut = f"{per_shard} pictures" + ("" if limit is None else f", the first {limit} at all")
    if classes:
        cut += f", classes {_hash(sorted(map(str, classes.items())))}"
    return Plan(tuple(units if limit is None else _limited(units, limit)), tuple(words), cut)


def _limited(units: Sequence[SourceUnit], limit: int) -> Iterator[SourceUnit]:
    left = limit
    for unit in units:
        if not left:
            return
        part = unit.first(left)
        left -= part.count() or 0
        yield part


def _scenes(source: str, per_shard: int) -> tuple[list[SourceUnit], str]:
    match = _SCENES.fullmatch(source)
    start, count, size = (int(part or DEFAULT_SIZE) for part in match.groups()) if match else (0, 0, 0)
    if not count or not _LEAST_SIDE <= size <= _MOST_SIDE:
        raise DataError(f"{source!r} names no scenes", "write scenes:2000000+3000, or scenes:2000000+3000@512")
    stop = start + count
    blocks = [SceneBlock(first, min(first + per_shard, stop), size) for first in range(start, stop, per_shard)]
    return list(blocks), f"scenes:{start}+{count}@{size}"


def _disk(source: str, per_shard: int, classes: Mapping[str, str]) -> tuple[list[SourceUnit], str]:
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("grounding", "classified"):
        kind, rest = "grounding", source
    place, chosen = Path(rest), cast("Kind", kind)
    if place.is_file() and place.name.endswith(_SHARDS):
        shards = [place]
    elif place.is_dir():
        shards = sorted(path for path in place.iterdir() if path.name.endswith(_SHARDS) and path.is_file())
    else:
        raise DataError(f"there is no tar file and no folder at {rest!r}", "check the path")
    if shards:
        described = [f"{path.name} {path.stat().st_size}" for path in shards]
        return [ShardUnit(path, chosen, classes) for path in shards], _word(chosen, place, described)
    names = sorted(_pictures(place, chosen))
    if not names:
        raise DataError(f"{place} holds no pictures and no tar files", _HINTS[chosen])
    blocks = [tuple(names[first : first + per_shard]) for first in range(0, len(names), per_shard)]
    return [FolderBlock(place, block, chosen, classes) for block in blocks], _word(chosen, place, names)


_HINTS: dict[Kind, str] = {
    "grounding": "a.jpg and a.json stand side by side",
    "classified": "each class has a folder of its own with its pictures",
}


def _word(kind: Kind, place: Path, described: Sequence[str]) -> str:
    """Tells a source from others, and from itself with other files, wherever it lies."""
    return f"{kind}:{place.resolve().name} ({len(described)} files, {_hash(described)})"


def _hash(lines: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _pictures(root: Path, kind: Kind) -> Iterator[str]:
    """Names of all pictures below a folder; those of classes stand in folders."""
    for folder, _, files in os.walk(root):
        below = Path(folder).relative_to(root)
        if kind == "classified" and not below.parts:
            continue
        for name in files:
            if name.rpartition(".")[2].lower() in PICTURE_SUFFIXES and not name.startswith("."):
                yield (below / name).as_posix()

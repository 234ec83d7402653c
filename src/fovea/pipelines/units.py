"""Units of work: each becomes one shard. An input shard is one, and so is a block of a folder or of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from fovea.datasets.classified import class_name, sample_class
from fovea.datasets.region_texts import PICTURE_SUFFIXES
from fovea.datasets.shards import Sample, count_samples, read_member, read_shard
from fovea.errors import DataError
from fovea.pipelines.records import Classified, Content, Record, grounded, picture_member, scene, upright

#: The kinds of sources on disk.
Kind = Literal["grounding", "classified"]

_MEMBERS: dict[Kind, frozenset[str]] = {
    "grounding": frozenset({*PICTURE_SUFFIXES, "json"}),
    "classified": frozenset({*PICTURE_SUFFIXES, "json", "cls"}),
}


class SourceUnit(Protocol):
    """Some pictures of a source; can be sent to another process."""

    @property
    def ranked(self) -> bool:
        """Whether its regions are ranked within their class before they are described."""
        ...

    def count(self) -> int | None:
        """How many pictures it holds; None where this is known only after reading."""
        ...

    def first(self, limit: int) -> SourceUnit:
        """The same with its first pictures only."""
        ...

    def records(self) -> Iterator[Record]:
        """Its pictures, in a fixed order.

        Raises:
            DataError: it cannot be read at all.
        """
        ...


@dataclass(frozen=True)
class SceneBlock:
    """Scenes ``start`` to ``stop - 1``, with sides of ``size`` pixels."""

    start: int
    stop: int
    size: int
    ranked = False

    def count(self) -> int:
        """See :class:`SourceUnit`."""
        return self.stop - self.start

    def first(self, limit: int) -> SceneBlock:
        """See :class:`SourceUnit`."""
        return replace(self, stop=min(self.stop, self.start + limit))

    def records(self) -> Iterator[Record]:
        """See :class:`SourceUnit`."""
        for number in range(self.start, self.stop):
            yield Record(f"scene_{number:08d}", partial(scene, number, self.size))


@dataclass(frozen=True)
class ShardUnit:
    """A tar file.

    Attributes:
        path: where it lies.
        kind: of its samples.
        classes: from what samples say to the names of classes.
        limit: how many pictures are taken; None for all.
    """

    path: Path
    kind: Kind
    classes: Mapping[str, str]
    limit: int | None = None

    @property
    def ranked(self) -> bool:
        """See :class:`SourceUnit`."""
        return self.kind == "classified"

    def count(self) -> int | None:
        """See :class:`SourceUnit`."""
        return self.limit

    def first(self, limit: int) -> ShardUnit:
        """See :class:`SourceUnit`. Counts the samples."""
        return replace(self, limit=min(limit, count_samples(self.path, _MEMBERS[self.kind])))

    def records(self) -> Iterator[Record]:
        """See :class:`SourceUnit`."""
        load = grounded if self.kind == "grounding" else partial(_classified, self.classes)
        for sample in islice(read_shard(self.path, _MEMBERS[self.kind]), self.limit):
            yield Record(sample.key, partial(load, sample))


def _classified(classes: Mapping[str, str], sample: Sample) -> Content:
    data = picture_member(sample)
    return Classified(upright(data), class_name(sample_class(sample), classes))


@dataclass(frozen=True)
class FolderBlock:
    """Pictures of a folder by name.

    Attributes:
        root: the folder.
        names: of the pictures, below the root.
        kind: whether a json stands beside each, or the first folder of its name is its class.
        classes: from folders to the names of classes.
    """

    root: Path
    names: tuple[str, ...]
    kind: Kind
    classes: Mapping[str, str]

    @property
    def ranked(self) -> bool:
        """See :class:`SourceUnit`."""
        return self.kind == "classified"

    def count(self) -> int:
        """See :class:`SourceUnit`."""
        return len(self.names)

    def first(self, limit: int) -> FolderBlock:
        """See :class:`SourceUnit`."""
        return replace(self, names=self.names[:limit])

    def records(self) -> Iterator[Record]:
        """See :class:`SourceUnit`."""
        for name in self.names:
            load = self._grounded if self.kind == "grounding" else self._classified
            yield Record(name.rpartition(".")[0], partial(load, name))

    def _grounded(self, name: str) -> Content:
        path = self.root / name
        if not path.with_suffix(".json").is_file():
            raise DataError("there is no json beside it")
        members = {path.suffix[1:].lower(): read_member(path), "json": read_member(path.with_suffix(".json"))}
        return grounded(Sample(name, members))

    def _classified(self, name: str) -> Content:
        return Classified(upright(read_member(self.root / name)), class_name(Path(name).parts[0], self.classes))

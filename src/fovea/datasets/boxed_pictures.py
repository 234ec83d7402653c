"""Pictures whose boxes have names, from annotation files in COCO's form or composed on the fly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from fovea.datasets.annotations import AnnotatedPicture, read_annotations
from fovea.datasets.pictures_on_disk import find_picture
from fovea.errors import DataError
from fovea.pictures import Picture, open_picture
from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.scene import DEFAULT_SIZE, compose

# Folders that hold the pictures, in the order they are looked for, behind the one that an annotation itself names.
_IMAGE_FOLDERS = ("train2017", "val2017", "train", "val", "images", ".")


@dataclass(frozen=True, eq=False)
class BoxedPicture:
    """A picture and its named boxes.

    Attributes:
        picture: upright.
        boxes: ``(N, 4)`` float32 xyxy pixels inside of it, none of them empty.
        labels: ``(N,)`` int64, numbers of their names.
        dropped: how many boxes made no sense: outside of the picture, or without area.
    """

    picture: Picture
    boxes: np.ndarray
    labels: np.ndarray
    dropped: int


class BoxedPictures(Protocol):
    """A source of such pictures; can be sent to another process."""

    @property
    def name(self) -> str:
        """Says what it is, for what is made from it."""
        ...

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names, each once; labels are places in it."""
        ...

    @property
    def category_ids(self) -> tuple[tuple[int, ...], ...]:
        """The numbers that each name has in the source: several where it holds a name twice."""
        ...

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> BoxedPictures:
        """Some of the pictures."""
        ...

    def id(self, index: int) -> int:
        """The number that the source gives a picture."""
        ...

    def load(self, index: int) -> BoxedPicture:
        """A picture by its place.

        Raises:
            FoveaError: it is missing or broken.
        """
        ...


@dataclass(frozen=True, eq=False)
class AnnotatedBoxes:
    """The boxes of an annotation file: Objects365, OpenImages in COCO's form, V3Det, LVIS, COCO.

    Names are as the file has them. Equal names are one class, whatever their numbers (V3Det has 59 such pairs), since
    a text tower cannot tell them apart (specs/regionspot.md, Q14). Crowds are left out.

    Attributes:
        name: of the file, with a hash of it.
        vocabulary: the names, each once.
        category_ids: the numbers that each name has in the file.
        folder: of the pictures.
        pictures: what is annotated.
    """

    name: str
    vocabulary: tuple[str, ...]
    category_ids: tuple[tuple[int, ...], ...]
    folder: Path
    pictures: tuple[AnnotatedPicture, ...]

    @classmethod
    def read(cls, path: Path, folder: Path | None = None) -> AnnotatedBoxes:
        """Read a file.

        Args:
            path: where it lies.
            folder: with the pictures, or with COCO's folders of pictures; by default the file's own, or the one above
                where that is called ``annotations``.

        Raises:
            DataError: it is missing or broken.
        """
        file = read_annotations(path)
        vocabulary, numbers = merge_names((number, one.name) for number, one in file.categories.items())
        return cls(f"{path.name} {file.fingerprint}", vocabulary, numbers, folder or usual_folder(path), file.pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, start: int, stop: int) -> AnnotatedBoxes:
        """See :class:`BoxedPictures`."""
        return replace(self, pictures=self.pictures[start:stop])

    def id(self, index: int) -> int:
        """See :class:`BoxedPictures`."""
        return self.pictures[index].id

    @cached_property
    def _label(self) -> dict[int, int]:
        return {number: label for label, numbers in enumerate(self.category_ids) for number in numbers}

    def load(self, index: int) -> BoxedPicture:
        """See :class:`BoxedPictures`."""
        row = self.pictures[index]
        picture = open_picture(find_picture(self.folder, row.file_name, folders_of(row)))
        if picture.size != row.size:
            raise DataError("the picture is of another size than its annotations say", "get it again")
        corners = np.array([one.box for one in row.annotations], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        boxes = np.clip(corners, 0, np.tile(picture.size, 2)).astype(np.float32)
        labels = np.array([self._label[one.category] for one in row.annotations], np.int64)
        sound = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return BoxedPicture(picture, boxes[sound], labels[sound], int((~sound).sum()))


def merge_names(categories: Iterable[tuple[int, str]]) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Distinct names in the order of their smallest numbers, and all numbers of each."""
    numbers: dict[str, list[int]] = {}
    for number, name in sorted(categories):
        numbers.setdefault(name, []).append(number)
    return tuple(numbers), tuple(map(tuple, numbers.values()))


def usual_folder(path: Path) -> Path:
    """Where the pictures of an annotation file are, if nobody says so: beside it, or beside its ``annotations``."""
    return path.parent.parent if path.parent.name == "annotations" else path.parent


def folders_of(row: AnnotatedPicture) -> tuple[str, ...]:
    """Where to look for a picture. Names come from a file: of their folders only the last is used."""
    named = PurePosixPath(row.file_name.replace("\\", "/").replace("\0", "")).parent.name
    return (*((named,) if named not in ("", "..") else ()), *_IMAGE_FOLDERS)


@dataclass(frozen=True)
class SceneBoxes:
    """Scenes, composed when they are asked for.

    Attributes:
        start: number of the first.
        count: how many.
        size: side of the pictures in pixels.
    """

    start: int
    count: int
    size: int = DEFAULT_SIZE

    @property
    def name(self) -> str:
        """See :class:`BoxedPictures`."""
        return f"scenes:{self.start}+{self.count} of {self.size} pixels"

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """See :class:`BoxedPictures`."""
        return tuple(glyph.name for glyph in glyphs_of("train"))

    @property
    def category_ids(self) -> tuple[tuple[int, ...], ...]:
        """See :class:`BoxedPictures`. The numbers of ``fovea scenes``."""
        return tuple((glyph.index + 1,) for glyph in glyphs_of("train"))

    def __len__(self) -> int:
        return self.count

    def part(self, start: int, stop: int) -> SceneBoxes:
        """See :class:`BoxedPictures`."""
        return replace(self, start=self.start + start, count=stop - start)

    def id(self, index: int) -> int:
        """See :class:`BoxedPictures`."""
        return self.start + index

    @cached_property
    def _label(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.vocabulary)}

    def load(self, index: int) -> BoxedPicture:
        """See :class:`BoxedPictures`."""
        scene = compose(self.start + index, self.size)
        labels = np.array([self._label[glyph.name] for glyph in scene.glyphs], np.int64)
        return BoxedPicture(open_picture(scene.pixels), scene.boxes, labels, 0)


def open_source(text: str, pictures: Path | None = None) -> BoxedPictures:
    """What a user means by a source of named boxes.

    Args:
        text: ``scenes:START+COUNT``, or the path of an annotation file in COCO's form.
        pictures: folder of its pictures, see :meth:`AnnotatedBoxes.read`.

    Raises:
        DataError: there is no such source.
    """
    if not text.startswith("scenes:"):
        return AnnotatedBoxes.read(Path(text), pictures)
    found = re.fullmatch(r"scenes:(\d{1,15})\+(\d{1,9})", text)
    if found is None or int(found[2]) == 0:
        raise DataError(f"{text!r} names no scenes", "write scenes:START+COUNT, as in scenes:2100000+2500")
    return SceneBoxes(int(found[1]), int(found[2]))

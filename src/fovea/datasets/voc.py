"""PASCAL VOC: objects with boxes, one XML file per picture (specs/pin.md, 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from fovea.datasets.pictures_on_disk import find_picture, picture_size
from fovea.errors import DataError
from fovea.files import content_hash

# An annotation has some kilobytes; a file of another kind is not read whole.
_MOST_BYTES = 1 << 20

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObject:
    """A thing.

    Attributes:
        name: of its class, as the file writes it, such as ``pottedplant``.
        box: ``xmin, ymin, xmax, ymax`` as the file writes them: pixels are counted from 1, and the last ones belong to
            the thing.
    """

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class VocPicture:
    """A picture and its things; parts of things, such as heads, are left out.

    Attributes:
        key: its name without ending.
        size: width and height in pixels.
        objects: in the file's order.
    """

    key: str
    size: tuple[int, int]
    objects: tuple[VocObject, ...]


@dataclass(frozen=True, eq=False)
class VocSplit:
    """What is annotated.

    Attributes:
        directory: with ``Annotations``, ``ImageSets`` and ``JPEGImages``.
        pictures: in the order of the split's list.
        fingerprint: hash of the list and of all annotations.
    """

    directory: Path
    pictures: tuple[VocPicture, ...]
    fingerprint: str

    def path(self, picture: VocPicture) -> Path:
        """Where a picture lies.

        Raises:
            MissingPictureError: it is not there.
        """
        return find_picture(self.directory, f"{picture.key}.jpg", ("JPEGImages",))


def read_voc(directory: Path, split: str = "test") -> VocSplit:
    """Read a split.

    Args:
        directory: ``VOC2007`` or another year's, or what holds it or its ``VOCdevkit``, if there is one year only.
        split: name of its list in ``ImageSets/Main``, such as ``test`` or ``trainval``.

    Raises:
        DataError: a file is missing or broken.
    """
    home = _home(directory)
    listed = home / "ImageSets" / "Main" / f"{Path(split).name}.txt"
    if not listed.is_file():
        known = ", ".join(sorted(path.stem for path in listed.parent.glob("*.txt") if "_" not in path.stem)) or "none"
        raise DataError(f"{home} holds no split {split!r}", f"name one with --split; there are: {known}")
    try:
        keys = listed.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise DataError(f"{listed} cannot be read", "it holds one name per line") from error
    # A list may name anything: only what lies in the folder of annotations is read.
    files = [home / "Annotations" / f"{Path(key).name}.xml" for key in keys]
    return VocSplit(home, tuple(map(_read_picture, files)), content_hash(listed, *files))


def _home(directory: Path) -> Path:
    found = [
        path
        for place in (directory, directory / "VOCdevkit")
        for path in (place, *sorted(place.glob("VOC[0-9][0-9][0-9][0-9]")))
        if (path / "Annotations").is_dir() and (path / "ImageSets").is_dir()
    ]
    if len(found) == 1:
        return found[0]
    what = "several years" if found else "no folders Annotations and ImageSets"
    raise DataError(f"{directory} holds {what}", "name the folder of a year, such as VOC2007")


def _read_picture(path: Path) -> VocPicture:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        return _picture(path.stem, _tree(data))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    except (KeyError, ValueError, TypeError, expat.ExpatError) as error:
        raise DataError(f"{path} is no annotation of VOC: {error}", "get it again") from error


def _tree(data: bytes) -> ElementTree.Element:
    """The document, which must not define anything: entities could name other files, or grow without end."""
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes")
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

    def refuse(*_: Any) -> NoReturn:
        raise ValueError("it holds a document type, which annotations have not")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _picture(key: str, root: ElementTree.Element) -> VocPicture:
    size = picture_size({side: int(_text(root, f"size/{side}")) for side in ("width", "height")})
    # Parts stand inside of their things.
    return VocPicture(key, size, tuple(map(_object, root.findall("object"))))


def _object(row: ElementTree.Element) -> VocObject:
    left, top, right, bottom = (float(_text(row, f"bndbox/{corner}")) for corner in _CORNERS)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("a box holds a value that is not a number")
    return VocObject(_text(row, "name"), (left, top, right, bottom))


def _text(row: ElementTree.Element, path: str) -> str:
    text = (row.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"it lacks {path}")
    return text

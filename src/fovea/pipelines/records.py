"""What goes into the pipeline: one picture at a time, with boxes and phrases or with a class."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from fovea.datasets.grit import Grounding, Phrase, read_grounding
from fovea.datasets.region_texts import PICTURE_SUFFIXES, DescribedPicture
from fovea.datasets.shards import Sample
from fovea.errors import DataError
from fovea.pictures import Picture, open_picture
from fovea.scenes.expressions import Thing
from fovea.scenes.scene import compose

# EXIF's number for the way a picture is held, and what it says of one that is upright.
_ORIENTATION, _UPRIGHT = 0x0112, (None, 1)

# What every reader of shards takes as it is.
_KEPT = {"JPEG": "jpg", "PNG": "png"}

# Of pictures that have to be written anew.
_QUALITY = 95

# Names that a scene's caption holds: the text towers of the minis read few words.
_IN_CAPTION = 4


class Skipped(Exception):  # noqa: N818 - nothing is wrong with the picture
    """There is nothing to describe in a picture; the message says why."""


@dataclass(frozen=True, eq=False)
class Upright:
    """A picture and its file, whose pixels are upright for every reader.

    Attributes:
        picture: decoded.
        data: the file, without an orientation to be applied.
        suffix: ``jpg`` or ``png``.
    """

    picture: Picture
    data: bytes
    suffix: str


@dataclass(frozen=True, eq=False)
class Grounded:
    """A picture with a caption and phrases that have boxes."""

    upright: Upright
    grounding: Grounding


@dataclass(frozen=True, eq=False)
class Classified:
    """A picture and the name of the one class that it is of."""

    upright: Upright
    name: str


@dataclass(frozen=True, eq=False)
class Candidate:
    """A picture with regions that may be of its class; their texts are the name of the class."""

    described: DescribedPicture


Content = Grounded | Classified | Candidate


@dataclass(frozen=True, eq=False)
class Record:
    """A picture of a source.

    Attributes:
        key: as the source names it.
        load: gives its content; raises a FoveaError where it is broken, and Skipped where it says nothing.
    """

    key: str
    load: Callable[[], Content]


def upright(data: bytes) -> Upright:
    """Decode a picture's file; one that is turned by its EXIF data, or that not all programs read, is written anew.

    Raises:
        PictureError: it cannot be opened, or is too large.
    """
    picture = open_picture(data)
    with Image.open(io.BytesIO(data)) as image:
        suffix = _KEPT.get(image.format or "")
        plain = image.mode in ("RGB", "L") and image.getexif().get(_ORIENTATION) in _UPRIGHT
    if suffix and plain:
        return Upright(picture, data, suffix)
    return Upright(picture, _encoded(picture.image, "JPEG", quality=_QUALITY, subsampling=0), "jpg")


def _encoded(image: Image.Image, kind: str, **settings: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def picture_member(sample: Sample) -> bytes:
    """The file of a sample's picture.

    Raises:
        DataError: it has none, or cannot be read.
    """
    if sample.problem:
        raise DataError(sample.problem)
    for suffix in PICTURE_SUFFIXES:
        if suffix in sample.members:
            return sample.members[suffix]
    raise DataError("there is no picture beside it")


def grounded(sample: Sample) -> Grounded:
    """A sample with GRIT's record.

    Raises:
        FoveaError: a part is missing or broken.
    """
    data = picture_member(sample)
    if "json" not in sample.members:
        raise DataError("there is no json beside it")
    opened = upright(data)
    return Grounded(opened, read_grounding(sample.members["json"], opened.picture.size))


def scene(number: int, size: int) -> Grounded:
    """A scene as a grounding record: each thing by its name, by its colour and name, and by its relation to others."""
    made = compose(number, size)
    boxes = [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in made.boxes.tolist()]
    relations: Mapping[int, str] = {one.target: one.text for one in made.expressions if one.kind == "relation"}
    phrases = [
        Phrase(text, box)
        for index, (thing, box) in enumerate(zip(made.things, boxes, strict=True))
        for text in (*_called(thing), *([relations[index]] if index in relations else []))
    ]
    image = Image.fromarray(made.pixels)
    largest = sorted(made.things, key=lambda thing: -thing.extent)[:_IN_CAPTION]
    caption = " and ".join(dict.fromkeys(f"a {thing.name}" for thing in largest))
    data = _encoded(image, "PNG", compress_level=1)
    return Grounded(Upright(Picture(image), data, "png"), Grounding(caption, tuple(phrases)))


def _called(thing: Thing) -> list[str]:
    return [thing.name, *([f"{thing.colour} {thing.name}"] if thing.colour else [])]

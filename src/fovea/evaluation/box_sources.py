"""Which boxes are named: annotated ones, a detector's, or what a search of the picture finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from fovea.datasets.annotations import AnnotatedPicture
from fovea.datasets.detector_boxes import DetectorBoxes
from fovea.datasets.refcoco import boxes_from_xywh
from fovea.errors import DataError
from fovea.regions import Regions


class BoxSource(Protocol):
    """Gives the boxes of pictures.

    Attributes:
        name: how results name where they came from.
        origin: tells files from others in result files.
    """

    name: str
    origin: str

    def regions(self, picture: AnnotatedPicture) -> Regions | None:
        """The boxes of a picture, without masks; None where it is to be searched."""
        ...

    def check(self, pictures: Iterable[AnnotatedPicture]) -> None:
        """Raise a DataError where these cannot be the pictures."""
        ...


class TrueBoxes:
    """The annotated boxes. A picture without any offers itself as a whole."""

    name, origin = "ground-truth", ""

    def regions(self, picture: AnnotatedPicture) -> Regions:
        """See :class:`BoxSource`."""
        width, height = picture.size
        rows = [one.box for one in picture.annotations] or [(0.0, 0.0, float(width), float(height))]
        return Regions(boxes_from_xywh(rows, picture.size), picture.size, self.name)

    def check(self, pictures: Iterable[AnnotatedPicture]) -> None:
        """Nothing can be wrong."""


class SearchedBoxes:
    """What SAM's grid finds."""

    name, origin = "grid", ""

    def regions(self, picture: AnnotatedPicture) -> None:
        """See :class:`BoxSource`."""

    def check(self, pictures: Iterable[AnnotatedPicture]) -> None:
        """Nothing can be wrong."""


class DetectedBoxes:
    """A detector's boxes and scores, from a file."""

    def __init__(self, form: str, path: Path) -> None:
        self._found = DetectorBoxes(form, path)
        self.name, self.origin = self._found.source, self._found.origin

    def regions(self, picture: AnnotatedPicture) -> Regions:
        """See :class:`BoxSource`."""
        return self._found.regions(picture.id, picture.size)

    def check(self, pictures: Iterable[AnnotatedPicture]) -> None:
        """See :class:`BoxSource`."""
        self._found.check_named(picture.id for picture in pictures)


def open_boxes(value: str) -> BoxSource:
    """Boxes by what a user writes: ``ground-truth``, ``grid``, ``glip:FILE`` or ``coco:FILE``.

    Raises:
        DataError: there are no such boxes, or the file is broken.
    """
    form, colon, path = value.partition(":")
    if form in ("glip", "coco") and colon and path:
        return DetectedBoxes(form, Path(path))
    if value == "ground-truth":
        return TrueBoxes()
    if value == "grid":
        return SearchedBoxes()
    raise DataError(f"there are no boxes called {value!r}", "known are ground-truth, grid, glip:FILE and coco:FILE")

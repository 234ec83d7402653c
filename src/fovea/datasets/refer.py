"""RefCOCO, RefCOCO+, RefCOCOg and RefClef in REFER's layout (specs/iterprime.md, 7).

``<root>/<dataset>/refs(<split_by>).p`` holds the expressions, a pickle of Python 2, and ``instances.json`` beside it
the annotated regions in COCO's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fovea.datasets.pictures_on_disk import find_picture, picture_size
from fovea.datasets.plain_pickle import load_plain_pickle
from fovea.datasets.refcoco import boxes_from_xywh
from fovea.datasets.subsets import POSITION_TESTS, PositionTest
from fovea.errors import DataError, RegionError
from fovea.evaluation.examples import Example, LazyExamples, Query
from fovea.files import content_hash
from fovea.outlines import mask_from_coco
from fovea.proposers.given import read_json
from fovea.regions import Regions

#: Datasets, each with the division into splits that papers report.
SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "refclef": "unc"}

#: What is asked of a reference: everything that was said of it, as REFER cleaned it (lower case, no punctuation); or
#: only what was said last, as it was written, as PIN's release asks (specs/pin.md, 6).
Wording = Literal["every", "last-raw"]

# REFER's own folders first, then the ones that ReCLIP's reader knows.
_FOLDERS = ("images/mscoco/images/train2014", "images/saiapr_tc-12", "train2014", "images", ".")

_ERRORS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True)
class _Reference:
    """A region and what is said of it."""

    image: int
    annotation: int
    split: str
    sentences: tuple[str, ...]


class _Refer:
    """What a split holds by picture; masks are drawn when a picture is asked for."""

    def __init__(self, root: Path, position: PositionTest) -> None:
        self.root, self.position = root, position
        self.images: list[dict[str, Any]] = []
        self.annotations: dict[int, list[dict[str, Any]]] = {}
        self.references: dict[int, list[_Reference]] = {}

    def example(self, index: int) -> Example:
        image = self.images[index]
        try:
            return self._example(image)
        except (*_ERRORS, RegionError) as error:
            raise DataError(
                f"the annotations of picture {image['id']} are broken: {error}", "get instances.json again"
            ) from error

    def _example(self, image: dict[str, Any]) -> Example:
        rows, references = self.annotations[image["id"]], self.references[image["id"]]
        place = {row["id"]: index for index, row in enumerate(rows)}
        says_position = POSITION_TESTS[self.position]
        queries = tuple(
            Query(text, "position" if says_position(text) else "other", (place[one.annotation],))
            for one in references
            for text in one.sentences
        )
        path = find_picture(self.root, image["file_name"], _FOLDERS)
        return Example(str(image["id"]), path, _truth(rows, picture_size(image)), queries)


def _truth(rows: list[dict[str, Any]], size: tuple[int, int]) -> Regions:
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        raise ValueError("a box holds a value that is not a number")
    masks = tuple(mask_from_coco(row["segmentation"], size) for row in rows)
    if any(tuple(mask["size"]) != (size[1], size[0]) for mask in masks):
        raise ValueError("a mask has another size than the picture")
    return Regions(boxes_from_xywh(boxes.tolist(), size), size, "ground-truth", masks)


def read_refer(
    root: Path,
    dataset: str,
    split: str,
    split_by: str | None = None,
    *,
    position: PositionTest = "words",
    wording: Wording = "every",
    limit: int | None = None,
) -> LazyExamples:
    """Read a split.

    Args:
        root: with a folder for every dataset, and the pictures in ``images/mscoco/images/train2014``, ``train2014``
            or ``images``.
        dataset: one of ``SPLIT_BY``.
        split: such as ``val``, ``testA``, ``testB``, ``test``; ``test`` takes every test split of the file.
        split_by: who divided the data, such as ``google``; by default what papers report.
        position: which expressions are of the kind ``position``, all others being ``other``: those with a word of
            place, or those that the released program takes.
        wording: which expressions, in whose words.
        limit: how many pictures to read at most.

    Returns:
        One example per picture, in the order of their first expression: its annotated regions with masks, and its
        expressions.

    Raises:
        DataError: a file is missing, broken or refused, or the split is not in it; later, when a picture is asked for
            that is missing or whose annotations are broken.
    """
    directory, path = _expressions_file(root, dataset, split_by)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read", "check the path") from error
    try:
        references = [_reference(row, wording) for row in load_plain_pickle(data, str(path))]
    except _ERRORS as error:
        # The error is not quoted: shared parts let a small pickle print as an endless text.
        raise DataError(f"{path} holds no expressions in REFER's form ({type(error).__name__})") from error
    examples = _Refer(root, position)
    for reference in _of_split(references, split, path):
        if reference.image in examples.references or limit is None or len(examples.references) < limit:
            examples.references.setdefault(reference.image, []).append(reference)
    try:
        _take_instances(examples, read_json(directory / "instances.json"))
    except _ERRORS as error:
        raise DataError(f"{directory / 'instances.json'} is broken: {error!r}", "use REFER's file") from error
    return LazyExamples(
        len(examples.images), examples.example, f"{dataset} {split}, position {position}, {content_hash(path)}"
    )


def _expressions_file(root: Path, dataset: str, split_by: str | None) -> tuple[Path, Path]:
    if dataset not in SPLIT_BY:
        raise DataError(f"there is no dataset called {dataset!r}", f"known are {', '.join(SPLIT_BY)}")
    directory = root / dataset
    path = directory / f"refs({Path(split_by or SPLIT_BY[dataset]).name}).p"
    if not path.is_file():
        there = ", ".join(found.name for found in sorted(directory.glob("refs(*).p"))) or "none"
        raise DataError(f"{directory} holds no {path.name}", f"REFER's layout has it; there are: {there}")
    return directory, path


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("an id is no whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value


def _reference(row: Any, wording: Wording) -> _Reference:
    if wording == "last-raw":
        sentences: tuple[str, ...] = (_text(row["sentences"][-1]["raw"]),)
    else:
        sentences = tuple(_text(sentence["sent"]) for sentence in row["sentences"])
    return _Reference(_whole(row["image_id"]), _whole(row["ann_id"]), _text(row["split"]), sentences)


def _of_split(references: list[_Reference], split: str, path: Path) -> list[_Reference]:
    """The references of a split: RefClef has pictures in several test splits at once, "testAB"."""

    def takes(name: str) -> bool:
        if split in ("testA", "testB", "testC"):
            return name.startswith("test") and split[-1] in name[4:]
        return "test" in name if split == "test" else name == split

    found = [reference for reference in references if takes(reference.split)]
    if not found:
        known = ", ".join(sorted({reference.split[:40] for reference in references})[:12]) or "none"
        raise DataError(f"{path} holds no split {split!r}", f"there are: {known}")
    return found


def _take_instances(examples: _Refer, data: Any) -> None:
    """Pictures and annotations of those expressions that are asked."""
    images = {row["id"]: row for row in data["images"] if row["id"] in examples.references}
    meant = {one.annotation for references in examples.references.values() for one in references}
    for row in data["annotations"]:
        # A crowd is no region to choose, unless an expression means it.
        if row["image_id"] in images and (not row.get("iscrowd") or row["id"] in meant):
            examples.annotations.setdefault(row["image_id"], []).append(row)
    examples.images = [images[image] for image in examples.references]
    for image in examples.images:
        held = {row["id"] for row in examples.annotations[image["id"]]}
        if not held.issuperset(one.annotation for one in examples.references[image["id"]]):
            raise ValueError(f"picture {image['id']} lacks a region that an expression means")
        picture_size(image)
        _text(image["file_name"])

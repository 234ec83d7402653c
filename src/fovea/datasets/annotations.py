"""Annotation files in COCO's form, and pictures that are asked for their categories: what COCO, LVIS and PACO share."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fovea.datasets.refcoco import Detections, boxes_from_xywh, detected, read_detections
from fovea.errors import DataError, RegionError
from fovea.evaluation.examples import Example, LazyExamples, Query
from fovea.outlines import mask_from_coco
from fovea.regions import Regions

# Folders that hold the pictures, in the order they are looked for, behind the one that an annotation itself names.
_IMAGE_FOLDERS = ("val2017", "train2017", "test2017", "val2014", "train2014", "images", ".")

#: The letters with which LVIS says how often a category occurs in training: rare, common, frequent.
FREQUENCIES = ("r", "c", "f")

# Masks of larger pictures cannot be encoded.
_MOST_PIXELS = 1 << 29


@dataclass(frozen=True)
class Category:
    """A kind of region.

    Attributes:
        name: as the file writes it.
        supercategory: what it belongs to, such as ``animal`` or ``PART``.
        frequency: how often training shows it, ``r``, ``c`` or ``f``, as LVIS writes it; ``u`` where it never does, as
            files of scenes say; empty where the file says nothing of it.
    """

    name: str
    supercategory: str
    frequency: str = ""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One region.

    Attributes:
        id: its number.
        category: number of its category.
        box: x, y, width, height in pixels.
        segmentation: polygons or run lengths as the file has them, not yet checked; None or empty without.
        area: of the mask in pixels, as the file has it; None without.
    """

    id: int
    category: int
    box: tuple[float, float, float, float]
    segmentation: Any
    area: float | None = None


@dataclass(frozen=True, eq=False)
class AnnotatedPicture:
    """A picture and its regions.

    Attributes:
        id: its number.
        file_name: as the file has it.
        size: width and height in pixels.
        annotations: its regions.
        negative: numbers of categories that surely do not occur in it (LVIS).
        not_exhaustive: numbers of categories of which it shows more than is annotated (LVIS).
    """

    id: int
    file_name: str
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]
    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """What an annotation file says.

    Attributes:
        path: where it lies.
        fingerprint: hash of its bytes.
        categories: by number.
        pictures: in the file's order. Crowds, which stand for no single thing, are left out unless they are asked for.
    """

    path: Path
    fingerprint: str
    categories: Mapping[int, Category]
    pictures: tuple[AnnotatedPicture, ...]


def find_annotations(directory: Path, prefix: str, split: str | None) -> Path:
    """The annotation file of a split.

    Args:
        directory: holds it, or has a folder ``annotations`` that does.
        prefix: how its name begins.
        split: how its name ends, with or without a year (``val`` means ``instances_val2017.json``), or the whole name
            without its ending; needed where there are several files.

    Raises:
        DataError: there is none, or there are several.
    """
    known = sorted(path for folder in (directory, directory / "annotations") for path in folder.glob(f"{prefix}*.json"))
    found = [path for path in known if split is None or split in _names(path)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.stem for path in known) or "none"
    many = "several files" if found else "no file"
    what = f"{prefix}*.json" if split is None else f"{prefix}*{split}.json"
    raise DataError(f"{directory} holds {many} of annotations {what}", f"name one with --split; there are: {names}")


def split_name(path: Path) -> str:
    """The split that a file is of, without a year: ``val`` of ``instances_val2017.json``."""
    return path.stem.rsplit("_", 1)[-1].rstrip("0123456789")


def _names(path: Path) -> set[str]:
    return {path.stem, path.stem.rsplit("_", 1)[-1], split_name(path)}


def read_annotations(path: Path, *, crowds: bool = False) -> AnnotationFile:
    """Read an annotation file, once; masks are checked when a picture is asked for.

    Args:
        path: the file.
        crowds: whether crowds count as regions.

    Raises:
        DataError: it is missing or of another form.
    """
    try:
        text = path.read_bytes()
        return _parsed(path, hashlib.blake2b(text, digest_size=16).hexdigest(), json.loads(text), crowds)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} holds no annotations: {error!r}"[:300], "use COCO's format") from error


def _parsed(path: Path, fingerprint: str, data: Any, crowds: bool) -> AnnotationFile:
    categories = {_number(row["id"]): _category(row) for row in data["categories"]}
    rows: dict[int, list[Annotation]] = {}
    for row in data["annotations"]:
        if row.get("iscrowd") and not crowds:
            continue
        annotation = _annotation(row)
        if annotation.category not in categories:
            raise ValueError(f"annotation {annotation.id} is of a category {annotation.category} that is not there")
        rows.setdefault(_number(row["image_id"]), []).append(annotation)
    pictures = tuple(_picture(row, rows.get(_number(row["id"]), ())) for row in data["images"])
    return AnnotationFile(path, fingerprint, categories, pictures)


def parsed_picture(image: dict[str, Any], annotations: Sequence[dict[str, Any]]) -> AnnotatedPicture:
    """A picture and its regions from rows in COCO's or LVIS's form, which must be well-formed."""
    return _picture(image, [_annotation(row) for row in annotations])


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number of a picture, annotation or category")
    return value


def _category(row: dict[str, Any]) -> Category:
    if not isinstance(row["name"], str):
        raise TypeError(f"{row['name']!r} is no name of a category")
    frequency = row.get("frequency", "")
    if frequency not in ("", *FREQUENCIES):
        raise ValueError(f"{frequency!r} is no frequency of a category")
    # Files of scenes name the split of every thing; only those of ``train`` were ever shown to the minis.
    unseen = row.get("split", "train") != "train"
    return Category(row["name"], str(row.get("supercategory", "")), "u" if unseen else frequency)


def _annotation(row: dict[str, Any]) -> Annotation:
    x, y, width, height = map(float, row["bbox"])
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"the box of annotation {row['id']} holds a value that is not a number")
    area = row.get("area")
    if area is not None and not math.isfinite(area := float(area)):
        raise ValueError(f"the area of annotation {row['id']} is not a number")
    segmentation = row.get("segmentation")
    return Annotation(_number(row["id"]), _number(row["category_id"]), (x, y, width, height), segmentation, area)


def _picture(row: dict[str, Any], annotations: Sequence[Annotation]) -> AnnotatedPicture:
    number, size = _number(row["id"]), (_number(row["width"]), _number(row["height"]))
    if min(size) < 1 or size[0] * size[1] >= _MOST_PIXELS:
        raise ValueError(f"picture {number} has {size[0]} x {size[1]} pixels")
    # LVIS names where a picture came from, whose end is the same.
    name = row["file_name"] if "file_name" in row else row["coco_url"]
    if not isinstance(name, str) or PurePosixPath(name).name in ("", ".."):
        raise ValueError(f"{name!r} is no name of a picture")
    negative, partly = (
        tuple(map(_number, row.get(field) or ())) for field in ("neg_category_ids", "not_exhaustive_category_ids")
    )
    return AnnotatedPicture(number, name, size, tuple(annotations), negative, partly)


def category_examples(
    directory: Path, file: AnnotationFile, texts: Mapping[int, str], kind: str, limit: int | None = None
) -> LazyExamples:
    """Pictures that are asked once for each of their categories.

    Args:
        directory: with the pictures in COCO's folders, ``images`` or itself, and maybe detections in a JSON file whose
            name holds ``det``.
        file: what is annotated.
        texts: what is said of a category, by its number. Regions of other categories are no part of the examples.
        kind: of the queries.
        limit: how many pictures at most.

    Returns:
        One example per picture that has such a region, made when it is asked for: the truth and the candidates are the
        regions of these categories; categories with the same text are one query; masks are there where every region of
        the picture has one. Asking raises a DataError where a picture is missing or a mask makes no sense.

    Raises:
        DataError: the detections are broken.
    """
    detections = read_detections(directory, file.path.stem)
    asked = [picture for picture in file.pictures if any(one.category in texts for one in picture.annotations)][:limit]
    return LazyExamples(
        len(asked),
        lambda index: _example(directory, file, asked[index], texts, kind, detections),
        f"{file.path.name} {file.fingerprint}",
    )


def _example(
    directory: Path,
    file: AnnotationFile,
    picture: AnnotatedPicture,
    texts: Mapping[int, str],
    kind: str,
    detections: Detections | None,
) -> Example:
    annotations = [one for one in picture.annotations if one.category in texts]
    targets: dict[str, list[int]] = {}
    for index, one in enumerate(annotations):
        targets.setdefault(texts[one.category], []).append(index)
    try:
        truth = _regions(annotations, picture.size)
    except RegionError as error:
        raise DataError(f"the annotations of picture {picture.id} in {file.path} are broken: {error}") from error
    queries = tuple(Query(text, kind, tuple(rows)) for text, rows in targets.items())
    found = detected(detections, picture.id, picture.size)
    return Example(str(picture.id), picture_path(directory, picture.file_name), truth, queries, found)


def _regions(annotations: Sequence[Annotation], size: tuple[int, int]) -> Regions:
    boxes = boxes_from_xywh([one.box for one in annotations], size)
    regions = Regions(boxes, size, "ground-truth")
    if not all(one.segmentation for one in annotations):
        return regions
    return regions.with_masks([mask_from_coco(one.segmentation, size) for one in annotations])


def picture_path(directory: Path, file_name: str) -> Path:
    """Where a picture lies. Names come from a file: only their last folder and name are used.

    Raises:
        DataError: it is not there.
    """
    named = PurePosixPath(file_name)
    folders = [named.parent.name] if named.parent.name not in ("", "..") else []
    for folder in (*folders, *_IMAGE_FOLDERS):
        path = directory / folder / named.name
        if path.is_file():
            return path
    raise DataError(
        f"{directory} holds no picture {named.name}", "put COCO's folders of pictures there, such as val2017"
    )

"""ImageNet-S as Alpha-CLIP measures it: pictures of one class, with the mask of the thing (specs/alphaclip.md, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fovea.datasets.class_names import read_class_names
from fovea.errors import DataError
from fovea.evaluation.named_pictures import NamedClass, NamedPicture, NamedRegions, NamingBenchmark
from fovea.files import content_hash
from fovea.outlines import mask_from_coco
from fovea.pictures import open_picture
from fovea.proposers.given import read_json
from fovea.regions import Regions, Rle

#: The file of annotations as it was released.
ANNOTATIONS = "imagenet_919.json"

#: The file of class names where none is given.
CLASS_NAMES = "class_names.json"

# Sentence around a name, as the released program has it.
_TEMPLATE = "a photo of a {}."

# What becomes of a mask of which the centre crop leaves nothing.
_LOST = "whole picture, the mask lies outside of the centre crop"


@dataclass(frozen=True, eq=False)
class _Row:
    """One annotation: index of its class, where the picture lies, and the mask as the file has it."""

    category: int
    file_name: str
    mask: Rle


def read_imagenet_s(
    directory: Path, split: str | None = None, names: Path | None = None, limit: int | None = None
) -> NamingBenchmark:
    """Read the annotations; pictures are opened when they are asked for.

    Classes are numbered by their WordNet ids, not by where they first appear, so that neither the order of the file
    nor ``limit`` changes anything.

    Args:
        directory: with the annotations, a JSON list of ``{"category_word", "image_pth", "mask"}``, and the pictures, in
            folders by class or in one.
        split: name of the file of annotations without its ending; ``imagenet_919`` by default.
        names: what the classes are called (:func:`fovea.datasets.class_names.read_class_names`); ``class_names.json``
            of the directory by default.
        limit: how many pictures at most.

    Raises:
        DataError: a file is missing or broken, or a class has no name.
    """
    path = directory / (ANNOTATIONS if split is None else f"{Path(split).name}.json")
    naming = names or directory / CLASS_NAMES
    if not naming.is_file():
        raise DataError(f"the classes in {directory} have no names: {naming} is not there", "use --class-names FILE")
    called = read_class_names(naming)
    data = read_json(path)
    try:
        categories = sorted({_category(row) for row in data})
        rows = [_row(row, categories) for row in data]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} holds no annotations of ImageNet-S ({error!r})"[:300],
            "it needs a list of category_word, image_pth and mask",
        ) from error
    missing = [name for name in categories if name not in called]
    if missing:
        raise DataError(f"{naming} has no name for {len(missing)} classes, such as {missing[0]}", "complete it")
    pictures = [
        NamedPicture(f"{index} {row.file_name}", partial(_open, directory, row)) for index, row in enumerate(rows)
    ]
    return NamingBenchmark(
        "imagenet-s",
        pictures[:limit],
        tuple(NamedClass(name, called[name]) for name in categories),
        f"{path.name} {content_hash(path, naming)}",
        _TEMPLATE,
        # The paper's numbers are of all pictures.
        "imagenet-s" if limit is None else "",
    )


def _category(row: Mapping[str, Any]) -> str:
    name = row["category_word"]
    if not isinstance(name, str) or not name.isalnum():
        raise ValueError(f"{name!r} is no class")
    return name


def _row(row: Mapping[str, Any], categories: list[str]) -> _Row:
    name, mask = row["image_pth"], row["mask"]
    if not isinstance(name, str) or PurePosixPath(name).name in ("", ".."):
        raise ValueError(f"{name!r} is no name of a picture")
    if not isinstance(mask, dict):
        raise TypeError(f"the mask of {name} is no run-length encoding")
    return _Row(categories.index(_category(row)), name, mask)


def _path(directory: Path, name: str) -> Path:
    """Where a picture lies. Names come from a file: only their last folder, which names the class, and name count."""
    named = PurePosixPath(name.replace("\0", ""))
    folder = "." if named.parent.name in ("", "..") else named.parent.name
    for place in (Path(folder), Path("val", folder), Path("validation", folder), Path("images"), Path()):
        path = directory / place / named.name
        if path.is_file():
            return path
    raise DataError(f"{directory} holds no picture {named.name}", f"put it into {directory / folder}")


def _open(directory: Path, row: _Row) -> NamedRegions:
    picture = open_picture(_path(directory, row.file_name))
    # Regions refuse a mask of other sides than the picture's.
    whole = Regions(np.array([[0, 0, *picture.size]]), picture.size)
    (mask,) = whole.with_masks([mask_from_coco(row.mask, picture.size)]).dense_masks()
    rows, columns = _centred(mask.shape)
    cropped, kept = picture.pixels[rows, columns], mask[rows, columns]
    if kept.any():
        regions = Regions.from_masks(kept[None], "ground-truth")
    else:
        # The released program shows such a picture all the same, with nothing to look at.
        regions = Regions.from_masks(np.ones((1, *kept.shape), bool), _LOST)
    return NamedRegions(open_picture(cropped), regions, (row.category,))


def _centred(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The square in the middle, as the released program cuts it out of an array."""
    side = min(shape)
    tops = [length // 2 - side // 2 for length in shape]
    return slice(tops[0], tops[0] + side), slice(tops[1], tops[1] + side)

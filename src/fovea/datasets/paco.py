"""PACO: objects of everyday life and their parts (specs/fgvp.md, f).

Category names of parts are ``object:part``, such as ``bucket:handle``; regions of objects have polygons, regions of
parts run lengths, and the pictures are COCO's.
"""

from __future__ import annotations

from pathlib import Path

from fovea.datasets.annotations import Category, category_examples, find_annotations, read_annotations
from fovea.errors import DataError
from fovea.evaluation.examples import Kind, LazyExamples
from fovea.language.names import part_phrase, readable


def read_paco(directory: Path, split: str | None = None, kind: Kind = "part", limit: int | None = None) -> LazyExamples:
    """Read a split: one query for every category of a kind that a picture shows.

    Args:
        directory: with ``paco_lvis_v1_SPLIT.json`` in it or in ``annotations``, and COCO's pictures.
        split: such as ``val``; needed where there are several files.
        kind: ``part`` asks for "the <part> of <object>" among the annotated parts, ``object`` for the object's name
            among the annotated objects.
        limit: how many pictures to read at most.

    Returns:
        One example per picture that has such a region, made when it is asked for.

    Raises:
        DataError: a file is missing or broken.
    """
    file = read_annotations(find_annotations(directory, "paco_", split))
    wanted = {number: one for number, one in file.categories.items() if one.supercategory.lower() == kind}
    if not wanted:
        raise DataError(f"{file.path} has no categories of the kind {kind!r}", "is it a file of PACO?")
    said = _part if kind == "part" else _object
    return category_examples(directory, file, {number: said(one) for number, one in wanted.items()}, kind, limit)


def _object(category: Category) -> str:
    return readable(category.name)


def _part(category: Category) -> str:
    whole, _, part = category.name.partition(":")
    if not part:
        raise DataError(f"the part {category.name!r} does not say what it is a part of", "PACO writes object:part")
    return part_phrase(part, whole)

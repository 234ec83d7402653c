"""LVIS v1, and other annotation files in its or COCO's form: regions that are named (specs/regionspot.md, 11)."""

from __future__ import annotations

from pathlib import Path

from fovea.datasets.annotations import AnnotationFile, find_annotations, read_annotations
from fovea.errors import DataError


def read_lvis(directory: Path, split: str | None = None) -> AnnotationFile:
    """Read a split.

    Categories keep their numbers; LVIS's run from 1 without a gap, so that the zero-based index of a class is its
    number less 1. Pictures of LVIS v1 have no file name but an address, whose last folder and name say where in COCO's
    folders they lie: its val split takes pictures from both ``train2017`` and ``val2017``.

    Args:
        directory: with ``lvis_v1_SPLIT.json`` or else ``instances_SPLIT.json`` in it or in ``annotations``.
        split: such as ``val``; needed where there are several files.

    Raises:
        DataError: a file is missing or broken, or two pictures have one number.
    """
    try:
        path = find_annotations(directory, "lvis_", split)
    except DataError as missing:
        try:
            path = find_annotations(directory, "instances", split)
        except DataError:
            raise missing from None
    file = read_annotations(path)
    if len({picture.id for picture in file.pictures}) != len(file.pictures):
        raise DataError(f"{path} has two pictures of one number", "number them apart")
    return file

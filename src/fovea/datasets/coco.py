"""COCO: objects found by the names of their categories (specs/fgvp.md, f)."""

from __future__ import annotations

from pathlib import Path

from fovea.datasets.annotations import category_examples, find_annotations, read_annotations
from fovea.evaluation.examples import LazyExamples
from fovea.language.names import readable


def read_coco(directory: Path, split: str | None = None, limit: int | None = None) -> LazyExamples:
    """Read a split: one query of the kind ``object`` for every category in a picture, whose text is its name.

    Args:
        directory: with ``instances_SPLIT.json`` (or ``instances.json``) in it or in ``annotations``, and the pictures.
        split: such as ``val2017`` or ``val``; needed where there are several files.
        limit: how many pictures to read at most.

    Returns:
        One example per picture, made when it is asked for.

    Raises:
        DataError: a file is missing or broken.
    """
    file = read_annotations(find_annotations(directory, "instances", split))
    texts = {number: readable(category.name) for number, category in file.categories.items()}
    return category_examples(directory, file, texts, "object", limit)

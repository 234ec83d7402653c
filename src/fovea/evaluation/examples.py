"""What recipes are measured on: pictures with regions and expressions that mean one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from fovea.errors import DataError, RegionError
from fovea.pictures import PictureSource
from fovea.regions import Regions, rle_from_json
from fovea.scenes.export import glyphs_named
from fovea.scenes.parts import compose_parts
from fovea.scenes.scene import compose

_MEND = "write some with: fovea scenes DIR"


@dataclass(frozen=True)
class Query:
    """An expression, its kind, and the indices of the regions that it may mean: any of them is right."""

    text: str
    kind: str
    targets: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Example:
    """One picture.

    Attributes:
        key: names it in result files.
        picture: what :func:`fovea.open_picture` takes.
        truth: the annotated regions, with masks where the data has them.
        queries: what is asked.
        detections: regions that a detector offers, where the data comes with some.
    """

    key: str
    picture: PictureSource
    truth: Regions
    queries: tuple[Query, ...]
    detections: Regions | None = None


class LazyExamples(Sequence[Example]):
    """Examples that are made when they are asked for, each time anew.

    Args:
        count: how many there are.
        make: gives the example at an index from 0 to ``count - 1``.
        origin: tells them from other data in result files.
    """

    def __init__(self, count: int, make: Callable[[int], Example], origin: str) -> None:
        self.origin, self._length, self._make = origin, count, make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._make(index)


def composed_examples(seed: int, count: int, names: str = "train") -> LazyExamples:
    """Scenes ``seed`` to ``seed + count - 1``, composed on the fly."""
    glyphs = glyphs_named(names)

    def make(index: int) -> Example:
        scene = compose(seed + index, glyphs=glyphs)
        queries = tuple(Query(e.text, e.kind, (e.target,)) for e in scene.expressions)
        return Example(str(scene.seed), scene.pixels, Regions.from_masks(scene.masks, "ground-truth"), queries)

    # Every composed scene is named by its seed, so the first seed and the number need no mention.
    return LazyExamples(count, make, f"composed, names {names}")


#: What can be asked of pictures whose objects have parts.
Kind = Literal["part", "object"]


def composed_part_examples(seed: int, count: int, names: str = "train", kind: Kind = "part") -> LazyExamples:
    """Scenes of objects with parts, ``seed`` to ``seed + count - 1``, composed on the fly.

    Args:
        seed: number of the first.
        count: how many.
        names: which glyphs they show.
        kind: ``part`` asks for every part, among all parts; ``object`` for every object, among all objects.
    """
    glyphs = glyphs_named(names)

    def make(index: int) -> Example:
        made = compose_parts(seed + index, glyphs=glyphs)
        chosen = list(made.parts if kind == "part" else made.objects)
        queries = [Query(e.text, kind, (chosen.index(e.target),)) for e in made.scene.expressions if e.kind == kind]
        truth = Regions.from_masks(made.scene.masks[chosen], "ground-truth")
        return Example(str(made.scene.seed), made.scene.pixels, truth, tuple(queries))

    return LazyExamples(count, make, f"composed with parts, names {names}")


def read_examples(directory: Path, limit: int | None = None) -> Sequence[Example]:
    """What :func:`fovea.scenes.export.write_scenes` wrote.

    Args:
        directory: with ``images/``, ``refs.jsonl`` and ``instances.json``.
        limit: how many pictures to read at most.

    Raises:
        DataError: a file is missing or broken.
    """
    refs, instances = _annotations(directory)
    try:
        lines = [json.loads(line) for line in refs.splitlines()]
        return _examples(directory, lines, json.loads(instances), limit)
    except (KeyError, IndexError) as error:
        raise DataError(f"the annotations in {directory} are broken: they lack {error}", _MEND) from error
    except (TypeError, ValueError, AttributeError, RegionError) as error:
        raise DataError(f"the annotations in {directory} are broken: {error}", _MEND) from error


def fingerprint(directory: Path) -> str:
    """A hash of the annotations that :func:`read_examples` reads.

    Raises:
        DataError: a file is missing.
    """
    return hashlib.blake2b(b"|".join(_annotations(directory)), digest_size=16).hexdigest()


def _annotations(directory: Path) -> tuple[bytes, bytes]:
    try:
        return (directory / "refs.jsonl").read_bytes(), (directory / "instances.json").read_bytes()
    except OSError as error:
        raise DataError(f"{directory} holds no scenes", _MEND) from error


def _examples(
    directory: Path, lines: list[dict[str, Any]], instances: dict[str, Any], limit: int | None
) -> list[Example]:
    annotations: dict[int, list[dict[str, Any]]] = {}
    for row in instances["annotations"]:
        annotations.setdefault(row["image_id"], []).append(row)
    refs: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        refs.setdefault(line["image_id"], []).append(line)
    images = [image for image in instances["images"] if image["id"] in refs][:limit]
    return [_example(directory, image, annotations[image["id"]], refs[image["id"]]) for image in images]


def _example(
    directory: Path, image: dict[str, Any], annotations: list[dict[str, Any]], refs: list[dict[str, Any]]
) -> Example:
    boxes = np.array([row["bbox"] for row in annotations], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    truth = Regions.from_boxes(boxes, (image["width"], image["height"]), "ground-truth")
    truth = truth.with_masks([rle_from_json(row["segmentation"]) for row in annotations])
    place = {row["id"]: index for index, row in enumerate(annotations)}
    queries = tuple(
        Query(sentence["raw"], sentence.get("kind", "expression"), (place[ref["ann_id"]],))
        for ref in refs
        for sentence in ref["sentences"]
    )
    name = Path(image["file_name"]).name
    return Example(str(image["id"]), directory / "images" / name, truth, queries)

"""Benchmarks of told boxes by name (specs/pin.md, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fovea.datasets.annotations import (
    AnnotatedPicture,
    AnnotationFile,
    find_annotations,
    picture_path,
    read_annotations,
    split_name,
)
from fovea.datasets.lvis import read_lvis
from fovea.datasets.refer import read_refer
from fovea.datasets.voc import VocPicture, VocSplit, read_voc
from fovea.errors import DataError, RegionError
from fovea.evaluation.asked_pictures import AskedPicture, AskedThings, TellingBenchmark
from fovea.evaluation.benchmarks import COMPOSED, Source, needed_directory, refer_split
from fovea.evaluation.examples import Example
from fovea.language.names import readable
from fovea.pictures import Picture, PictureSource, open_picture
from fovea.scenes.glyphs import Glyph, pasted_glyphs
from fovea.scenes.scene import compose

#: Every benchmark, with what is asked for.
TELLING_BENCHMARKS = {
    "scenes-told": "the things of composed scenes of one to three",
    "pvoc": "PASCAL VOC's objects, in its own files",
    "coco": "COCO's objects",
    "lvis": "LVIS's objects",
    "refcoco": "the last expression of every reference, in REFER's files",
}

#: What scenes show: glyphs that are pasted to learn from, those that never are, or both.
NAMES = ("held-out", "pasted", "all")

# Pictures with more things than this are left out, as published.
_MOST = 3


def open_telling(name: str, source: Source) -> TellingBenchmark:
    """A benchmark by name.

    Args:
        name: one of ``TELLING_BENCHMARKS``.
        source: where its data is; ``names`` is one of ``NAMES``.

    Raises:
        DataError: there is no such benchmark, its data is missing or broken, or it does not take what is asked for.
    """
    if name not in TELLING_BENCHMARKS:
        raise DataError(f"there is no benchmark of told boxes called {name!r}", f"known are {_known()}")
    if source.kind is not None:
        raise DataError(f"{name} has one kind of questions only", "leave --kind out")
    if name == "scenes-told":
        return _scenes(source)
    data = needed_directory(name, source)
    if name == "pvoc":
        return _voc(read_voc(data, source.split or "test"), source)
    if name == "refcoco":
        return _refer(data, source)
    if name == "coco":
        file = read_annotations(find_annotations(data, "instances", source.split), crowds=True)
        names = {number: category.name for number, category in file.categories.items()}
        known = file.path.stem == "instances_val2017"
    else:
        file = read_lvis(data, source.split)
        names = {number: readable(category.name) for number, category in file.categories.items()}
        known = file.path.stem.startswith("lvis_v1") and split_name(file.path) == "val"
    return _annotated(name, data, file, names, source, name if known else "")


def _known() -> str:
    return ", ".join(TELLING_BENCHMARKS)


def _split(name: str, source: Source) -> str:
    """What tables report of it: nothing, where only some pictures are looked at."""
    return name if source.limit is None else ""


def _scenes(source: Source) -> TellingBenchmark:
    if source.data is not None:
        raise DataError("scenes-told composes its scenes on the fly", "leave --data out, and choose them with --seed")
    if source.names not in NAMES:
        raise DataError(f"there is no set of names called {source.names!r}", f"known are {', '.join(NAMES)}")
    sets = {kind: pasted_glyphs(held_out=kind == "held-out") for kind in ("pasted", "held-out")}
    shown = sets.get(source.names) or (*sets["pasted"], *sets["held-out"])
    groups = {glyph.name: kind for kind, glyphs in sets.items() for glyph in glyphs} if source.names == "all" else {}
    pictures = [
        AskedPicture(str(seed), partial(_compose, seed, shown, groups))
        for seed in range(source.seed, source.seed + (source.limit or COMPOSED))
    ]
    return TellingBenchmark("scenes-told", pictures, "exact", f"composed, names {source.names}")


def _compose(seed: int, shown: tuple[Glyph, ...], groups: dict[str, str]) -> AskedThings:
    scene = compose(seed, glyphs=shown, few=True)
    names = tuple(glyph.name for glyph in scene.glyphs)
    return AskedThings(open_picture(scene.pixels), names, scene.boxes, tuple(groups.get(name, "") for name in names))


def _few(things: Sequence[object]) -> bool:
    return 1 <= len(things) <= _MOST


def _voc(split: VocSplit, source: Source) -> TellingBenchmark:
    """All things count, difficult ones too, as published."""
    chosen = [picture for picture in split.pictures if _few(picture.objects)][: source.limit]
    pictures = [AskedPicture(picture.key, partial(_open_voc, split, picture)) for picture in chosen]
    known = split.directory.name == "VOC2007" and source.split in (None, "test")
    origin = f"{split.directory.name} {source.split or 'test'} {split.fingerprint}"
    return TellingBenchmark("pvoc", pictures, "voc", origin, _split("pvoc", source) if known else "")


def _open_voc(split: VocSplit, described: VocPicture) -> AskedThings:
    picture = _opened(split.path(described), described.key, described.size)
    boxes = np.array([one.box for one in described.objects], np.float64)
    return AskedThings(picture, tuple(one.name for one in described.objects), boxes)


def _annotated(
    name: str, directory: Path, file: AnnotationFile, names: dict[int, str], source: Source, split: str
) -> TellingBenchmark:
    chosen = [picture for picture in file.pictures if _few(picture.annotations)][: source.limit]
    pictures = [AskedPicture(str(one.id), partial(_open_annotated, directory, one, names)) for one in chosen]
    origin = f"{file.path.name} {file.fingerprint}"
    return TellingBenchmark(name, pictures, "coco", origin, split and _split(split, source))


def _open_annotated(directory: Path, described: AnnotatedPicture, names: dict[int, str]) -> AskedThings:
    picture = _opened(picture_path(directory, described.file_name), described.id, described.size)
    boxes = np.array([one.box for one in described.annotations], np.float64)
    return AskedThings(picture, tuple(names[one.category] for one in described.annotations), boxes)


def _opened(source: PictureSource, key: object, size: tuple[int, int]) -> Picture:
    picture = open_picture(source)
    if picture.size != size:
        raise RegionError(f"picture {key} has other sides than its annotations say")
    return picture


def _refer(data: Path, source: Source) -> TellingBenchmark:
    split = refer_split(source.split or "refcoco-testA")
    examples = read_refer(data, split.dataset, split.part, split.split_by, wording="last-raw", limit=source.limit)
    pictures = [
        AskedPicture(str(number), partial(_open_reference, examples, number)) for number in range(len(examples))
    ]
    known = _split(f"{split.dataset}-{split.part}", source) if split.usual else ""
    return TellingBenchmark("refcoco", pictures, "coco", examples.origin, known)


def _open_reference(examples: Sequence[Example], number: int) -> AskedThings:
    example = examples[number]
    picture = _opened(example.picture, example.key, example.truth.size)
    corners = example.truth.boxes.astype(np.float64)[[query.targets[0] for query in example.queries]]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return AskedThings(picture, tuple(query.text for query in example.queries), boxes)

"""Benchmarks of named regions: LVIS and files in its form, and composed scenes."""

from __future__ import annotations

from collections.abc import Iterator

from fovea.datasets.annotations import AnnotatedPicture, Category, parsed_picture, picture_path, split_name
from fovea.datasets.lvis import read_lvis
from fovea.errors import DataError
from fovea.evaluation.benchmarks import COMPOSED, Source
from fovea.evaluation.named_detections import DetectionBenchmark
from fovea.pictures import PictureSource
from fovea.scenes.export import Instances, glyphs_named
from fovea.scenes.lvis import federated
from fovea.scenes.scene import compose

#: Every benchmark of named regions, with what it names.
DETECTION_BENCHMARKS = {
    "lvis": "regions, in LVIS's or COCO's files",
    "scenes-lvis": "the things of composed scenes, annotated as LVIS does",
}


def open_detections(name: str, source: Source) -> DetectionBenchmark:
    """A benchmark by name.

    Args:
        name: one of ``DETECTION_BENCHMARKS``.
        source: where its data is.

    Raises:
        DataError: its data is missing or broken.
    """
    if source.kind is not None:
        raise DataError(f"{name} has one kind of questions only", "leave --kind out")
    if name == "scenes-lvis":
        if source.data is not None:
            raise DataError("scenes-lvis composes its scenes", "use lvis for what `fovea scenes --lvis` wrote")
        return _scenes(source.seed, source.limit or COMPOSED, source.names)
    if source.data is None:
        raise DataError("lvis needs its data", "name the directory with --data")
    directory, file = source.data, read_lvis(source.data, source.split)
    asked = file.pictures[: source.limit]

    def pictures() -> Iterator[tuple[AnnotatedPicture, PictureSource]]:
        for picture in asked:
            yield picture, picture_path(directory, picture.file_name)

    split = f"lvis-{split_name(file.path)}" if file.path.stem.startswith("lvis_v1") and source.limit is None else ""
    return DetectionBenchmark(
        "lvis", file.categories, len(asked), pictures, f"{file.path.name} {file.fingerprint}", split
    )


def _scenes(seed: int, count: int, names: str) -> DetectionBenchmark:
    """Scenes composed on the fly; names that the minis were never shown form a group of their own."""
    glyphs = glyphs_named(names)
    categories = {
        glyph.index + 1: Category(glyph.name, "", glyph.frequency if glyph.split == "train" else "u")
        for glyph in glyphs
    }

    def pictures() -> Iterator[tuple[AnnotatedPicture, PictureSource]]:
        for number in range(seed, seed + count):
            scene, rows = compose(number, glyphs=glyphs), Instances(glyphs)
            rows.add(scene)
            yield parsed_picture(*federated(rows.images[0], rows.annotations)), scene.pixels

    return DetectionBenchmark("scenes-lvis", categories, count, pictures, f"composed, names {names}")

"""Benchmarks of naming by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fovea.datasets.coco_objects import known_background, read_coco_objects
from fovea.datasets.imagenet_s import read_imagenet_s
from fovea.errors import DataError
from fovea.evaluation.benchmarks import COMPOSED, Source, needed_directory
from fovea.evaluation.named_pictures import NamedClass, NamedPicture, NamedRegions, NamingBenchmark
from fovea.language.templates import with_article
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scenes.export import glyphs_named
from fovea.scenes.glyphs import Glyph, glyphs_of
from fovea.scenes.scene import compose

#: Every benchmark, with what is named.
NAMING_BENCHMARKS = {
    "scenes-names": "all things of composed scenes",
    "imagenet-s": "one masked thing per picture, among 919 classes",
    "coco-names": "COCO's objects, cut out one by one",
}


def open_naming(name: str, source: Source) -> NamingBenchmark:
    """A benchmark by name.

    Args:
        name: one of ``NAMING_BENCHMARKS``.
        source: where its data is.

    Raises:
        DataError: there is no such benchmark, its data is missing or broken, or it does not take what is asked for.
    """
    if name not in NAMING_BENCHMARKS:
        raise DataError(f"there is no benchmark of names called {name!r}", f"known are {', '.join(NAMING_BENCHMARKS)}")
    if source.kind is not None:
        raise DataError(f"{name} has one kind of questions only", "leave --kind out")
    if name != "imagenet-s" and source.class_names is not None:
        raise DataError(f"{name} brings its own names", "leave --class-names out")
    if name != "coco-names" and source.background != "kept":
        raise DataError(f"{name} keeps the background", "leave --background out")
    if name == "scenes-names":
        return _scenes(source)
    data = needed_directory(name, source)
    if name == "imagenet-s":
        return read_imagenet_s(data, source.split, source.class_names, source.limit)
    return read_coco_objects(data, source.split, source.limit, known_background(source.background))


def _scenes(source: Source) -> NamingBenchmark:
    """Composed scenes; their things are named among all names that the minis know, and those that are shown besides."""
    if source.data is not None:
        raise DataError("scenes-names composes its scenes on the fly", "leave --data out, and choose them with --seed")
    shown = glyphs_named(source.names)
    # Names that differ in nothing but their picture are one class.
    classes: dict[str, NamedClass] = {}
    for glyph in (*glyphs_of("train"), *shown):
        classes.setdefault(glyph.name, NamedClass(glyph.name, with_article(glyph.name)))
    if any(glyph.split != "train" for glyph in shown):
        # What the minis have seen is reported apart from what they have not.
        splits = {glyph.name: glyph.split for glyph in shown}
        classes = {name: replace(one, group=splits.get(name, "")) for name, one in classes.items()}
    places = {name: place for place, name in enumerate(classes)}
    pictures = [
        NamedPicture(str(seed), partial(_compose, seed, shown, places))
        for seed in range(source.seed, source.seed + (source.limit or COMPOSED))
    ]
    return NamingBenchmark("scenes-names", pictures, tuple(classes.values()), f"composed, names {source.names}")


def _compose(seed: int, shown: tuple[Glyph, ...], places: dict[str, int]) -> NamedRegions:
    scene = compose(seed, glyphs=shown)
    regions = Regions.from_masks(scene.masks, "ground-truth")
    return NamedRegions(open_picture(scene.pixels), regions, tuple(places[glyph.name] for glyph in scene.glyphs))

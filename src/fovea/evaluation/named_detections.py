"""Regions are named from a vocabulary, and named regions are compared with annotations by average precision.

The protocols are those of specs/regionspot.md, 8 and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.datasets.annotations import AnnotatedPicture, Category
from fovea.errors import DataError, ExpressionError
from fovea.evaluation.average_precision import PER_PICTURE, Detections, Shape, average_precision, federated
from fovea.evaluation.box_sources import BoxSource
from fovea.evaluation.region_ranking import RANKINGS, Ranked, rank
from fovea.evaluation.results import Row, append, resume
from fovea.grounder import Grounder
from fovea.language.names import readable
from fovea.pictures import PictureSource, open_picture
from fovea.proposers.finder import Pointed
from fovea.regions import Regions, Rle, rle_from_json, rle_to_json

#: How names become detections.
Protocol = Literal["paper", "single-label"]

#: Said with every result: figures of one protocol mean nothing beside those of the other.
PROTOCOLS: Mapping[Protocol, str] = {
    "paper": "softmax over all names, the best 900 pairs of region and name; a detector's score counts as a factor",
    "single-label": "softmax over all names, of every region only the best; a detector's score counts as a factor",
}

# What a row of results must have to be counted.
_NEEDED = frozenset({"key", "boxes", "regions", "categories", "scores"})


@dataclass(frozen=True, eq=False)
class DetectionBenchmark:
    """Pictures whose regions are named.

    Attributes:
        name: of the benchmark.
        categories: what may be named, by number.
        count: how many pictures there are.
        pictures: gives every picture with its truth, made when it is asked for.
        origin: tells the data from others in result files.
        split: how tables name it, such as ``lvis-val``; empty where no table does.
    """

    name: str
    categories: Mapping[int, Category]
    count: int
    pictures: Callable[[], Iterable[tuple[AnnotatedPicture, PictureSource]]]
    origin: str
    split: str = ""


@dataclass(frozen=True, eq=False)
class Named:
    """What was measured: the truth, and what was found by the number of the picture."""

    pictures: tuple[AnnotatedPicture, ...]
    found: Mapping[int, Detections]


def known_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        DataError: there is no such protocol.
    """
    known: tuple[Protocol, ...] = get_args(Protocol)
    return chosen(name, known, DataError(f"there is no protocol called {name!r}", f"known are {' and '.join(known)}"))


def names_as_asked(grounder: Grounder, names: Sequence[str]) -> list[str]:
    """Names as a recipe is asked for them: without underscores and remarks in parentheses, or as files write them."""
    return list(names) if grounder.names_as_written else [readable(name) for name in names]


def evaluate_detections(
    grounder: Grounder,
    benchmark: DetectionBenchmark,
    boxes: BoxSource,
    protocol: Protocol = "paper",
    shapes: Sequence[Shape] = ("box",),
    out: Path | None = None,
    advance: Callable[[], None] = lambda: None,
    experiment: Mapping[str, str] | None = None,
) -> Named:
    """Name the regions of every picture.

    Args:
        grounder: what is measured.
        benchmark: on what.
        boxes: which regions.
        protocol: how names become detections.
        shapes: what will be compared; without ``mask`` no masks are made for it.
        out: receives a line that says what was measured, then one line per picture; pictures that it holds already are
            not looked at again.
        advance: called after every picture.
        experiment: what else the results depend on; kept in ``out``.

    Raises:
        DataError: ``out`` holds something else, or results of another experiment.
    """
    about = {
        "recipe": grounder.recipe, "models": grounder.models, "boxes": f"{boxes.name} {boxes.origin}".strip(),
        "protocol": protocol, "shapes": " ".join(shapes), **(experiment or {}),
    }  # fmt: skip
    if boxes.name == "grid":
        about["grid"] = grounder.finder.grid.name
    done = {} if out is None else resume(out, about, _NEEDED)
    numbers = sorted(benchmark.categories)
    names = names_as_asked(grounder, [benchmark.categories[number].name for number in numbers])
    most = PER_PICTURE if federated(benchmark.categories) else None
    truth, found = [], {}
    for picture, source in benchmark.pictures():
        if "mask" in shapes and not all(one.segmentation for one in picture.annotations):
            raise DataError(f"picture {picture.id} has annotations without masks", "use --iou box")
        rows = done.pop(str(picture.id), None)
        if rows is None:
            regions, values = _matrix(grounder, source, boxes.regions(picture), names, "mask" in shapes)
            # SAM's own estimate of its masks says nothing of how sure a box is.
            scores = None if boxes.name == "grid" else regions.scores
            ranked = rank(values, regions.boxes, scores, RANKINGS[protocol])
            rows = [_row(picture, regions, ranked, numbers, most, "mask" in shapes)]
            if out is not None:
                append(out, rows)
        truth.append(picture)
        found[picture.id] = _detections(rows[0])
        advance()
    return Named(tuple(truth), found)


def _matrix(
    grounder: Grounder, source: PictureSource, given: Regions | None, names: list[str], with_masks: bool
) -> tuple[Regions, np.ndarray]:
    """The regions of a picture, and how well every name fits each: ``(R, C)``."""
    picture = open_picture(source)
    wanted = with_masks or grounder.names_masks
    regions = grounder.finder.find(picture, Pointed(regions=given), wanted, grounder.cache)
    if not len(regions):
        return regions, np.zeros((0, len(names)), np.float32)
    values = grounder.name(picture, regions, names).values
    if np.isnan(values).any():
        raise ExpressionError(f"{grounder.models} gives scores that are not finite", "try --dtype float32")
    return regions, values


def _row(
    picture: AnnotatedPicture,
    regions: Regions,
    ranked: Ranked,
    numbers: Sequence[int],
    most: int | None,
    with_masks: bool,
) -> Row:
    """What is kept of a picture: the regions that have a name, each once, and their names."""
    order = np.argsort(-ranked.scores, kind="stable")[:most]
    used, places = np.unique(ranked.regions[order], return_inverse=True)
    kept = regions.select(used)
    return {
        "key": str(picture.id),
        "boxes": [[_short(value) for value in box] for box in kept.boxes],
        "regions": places.tolist(),
        "categories": [numbers[column] for column in ranked.labels[order]],
        "scores": [_short(score) for score in ranked.scores[order]],
        "masks": [rle_to_json(mask) for mask in kept.masks or ()] if with_masks else None,
    }


def _short(value: float) -> float:
    """A number with as many digits as single precision has, so that a file says what was measured and no more."""
    return float(f"{value:.9g}")


def _detections(row: Row) -> Detections:
    """What a row of a file or of this run says.

    Raises:
        DataError: it makes no sense.
    """
    try:
        boxes = np.array(row["boxes"], np.float64).reshape(-1, 4)
        regions = np.array(row["regions"], np.int64)
        categories, scores = np.array(row["categories"], np.int64), np.array(row["scores"], np.float64)
        masks: tuple[Rle, ...] | None = None
        if row["masks"] is not None:
            masks = tuple(map(rle_from_json, row["masks"]))
        if not len(regions) == len(categories) == len(scores) or (len(regions) and regions.max() >= len(boxes)):
            raise ValueError("its columns do not fit together")
        return Detections(boxes, regions, categories, scores, masks)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the results of picture {row['key']} are broken: {error!r}", "measure anew") from error


def summarise(
    grounder: Grounder,
    benchmark: DetectionBenchmark,
    named: Named,
    boxes: BoxSource,
    protocol: Protocol,
    shapes: Sequence[Shape],
) -> dict[str, Any]:
    """Average precision by shape, with how it came about; what is undefined is None."""
    metrics = {}
    for shape in shapes:
        figures = average_precision(benchmark.categories, named.pictures, named.found, shape).figures
        metrics[shape] = {name: None if value is None else round(value, 6) for name, value in figures.items()}
    lvis = federated(benchmark.categories)
    cap = f"the best {PER_PICTURE} of a picture count (LVIS)" if lvis else "the best 100 of a name count (COCO)"
    return {
        "benchmark": benchmark.name,
        "recipe": grounder.recipe,
        "n": len(named.pictures),
        "metrics": metrics,
        "provenance": {
            "models": grounder.models,
            "boxes": boxes.name,
            "protocol": f"{protocol}: {PROTOCOLS[protocol]}; {cap}",
            "names": len(benchmark.categories),
            **({"grid": grounder.finder.grid.name} if boxes.name == "grid" else {}),
        },
    }

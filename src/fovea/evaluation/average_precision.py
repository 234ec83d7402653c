"""Average precision of named regions as LVIS and COCO define it (specs/regionspot.md, 11).

The package faster-coco-eval matches detections with the truth. What LVIS asks for beside it is here: the bound on a
whole picture's detections, and means over groups of categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fovea.datasets.annotations import FREQUENCIES, AnnotatedPicture, Annotation, Category
from fovea.errors import MissingExtraError
from fovea.outlines import mask_from_coco
from fovea.regions import Rle

#: What is compared with the truth.
Shape = Literal["box", "mask"]

#: LVIS counts the best so many detections of a picture, whatever their categories.
PER_PICTURE = 300

# COCO counts the best so many detections of a picture and category; LVIS's bound on the picture is all it has.
_PER_CATEGORY = {True: 1_000_000, False: 100}

# The package keeps a list for every picture and category, of LVIS's pictures some 24 million at once.
_PAIRS_AT_ONCE = 500_000

_SIZES = ("", "s", "m", "l")


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture: D pairs of R regions and categories.

    Attributes:
        boxes: ``(R, 4)`` xyxy pixels.
        regions: ``(D,)`` int, rows of ``boxes``; a region may have many categories.
        categories: ``(D,)`` int, numbers of categories.
        scores: ``(D,)`` float, more is better.
        masks: one for every region, or None.
    """

    boxes: np.ndarray
    regions: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    masks: tuple[Rle, ...] | None = None

    def select(self, rows: np.ndarray) -> Detections:
        """Some of the D pairs; all regions stay."""
        return Detections(self.boxes, self.regions[rows], self.categories[rows], self.scores[rows], self.masks)

    def best(self, most: int | None) -> Detections:
        """At most so many pairs, best first and of equals the first first; all of them for None."""
        return self.select(np.argsort(-self.scores, kind="stable")[:most])


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """What was measured.

    Attributes:
        figures: 0..1 by name, None where nothing can be said: ``AP`` over ten IoUs from 0.5 to 0.95, ``AP50``,
            ``AP75``; ``APs``, ``APm`` and ``APl`` of small, medium and large things; ``APr``, ``APc``, ``APf`` and
            ``APu`` of rare, common, frequent and unseen categories where the file tells them apart; ``AR``, ``ARs``,
            ``ARm`` and ``ARl`` of recall.
        by_category: AP of every category that is annotated in these pictures, by number.
    """

    figures: dict[str, float | None]
    by_category: dict[int, float]


def federated(categories: Mapping[int, Category]) -> bool:
    """Whether these are of LVIS's kind: pictures are annotated for some categories only, which have frequencies."""
    return bool(categories) and all(one.frequency for one in categories.values())


def average_precision(
    categories: Mapping[int, Category],
    pictures: Sequence[AnnotatedPicture],
    found: Mapping[int, Detections],
    shape: Shape = "box",
    *,
    per_picture: int | None = PER_PICTURE,
) -> AveragePrecision:
    """Compare detections with annotations.

    Categories with frequencies are measured as LVIS does: of every picture the best ``per_picture`` detections count,
    those of a category that is neither annotated in it nor known to be absent do not, and those of a category that is
    annotated in part do no harm. Other categories are measured as COCO does: everything is annotated, and the best 100
    detections of a picture and category count.

    Args:
        categories: by number.
        pictures: the truth.
        found: detections by the number of their picture; pictures without any need none.
        shape: what is compared. Masks are small or large by their own area, not by that of their boxes.
        per_picture: see above; None for no bound.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        RegionError: a true mask makes no sense.
    """
    lvis = federated(categories)
    table = _flatten(pictures, found, per_picture if lvis else None, lvis)
    numbers = sorted(categories)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(pictures)))
    parts = [
        _evaluated(numbers[start : start + step], pictures, found, table, shape, lvis)
        for start in range(0, len(numbers), step)
    ]
    precision = np.concatenate([part[0] for part in parts] or [np.zeros((10, 101, 0, 4))], axis=2)
    recall = np.concatenate([part[1] for part in parts] or [np.zeros((10, 0, 4))], axis=1)
    return _summarised(categories, numbers, precision, recall)


@dataclass(frozen=True, eq=False)
class _Table:
    """All detections as columns, sorted by category and then as they came; ``pictures`` counts in their sequence."""

    pictures: np.ndarray
    regions: np.ndarray
    categories: np.ndarray
    scores: np.ndarray


def _flatten(
    pictures: Sequence[AnnotatedPicture], found: Mapping[int, Detections], most: int | None, lvis: bool
) -> _Table:
    columns: list[list[np.ndarray]] = [[np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]]
    for place, picture in enumerate(pictures):
        if picture.id not in found:
            continue
        kept = found[picture.id].best(most)
        if lvis:
            # Most pairs name what nobody looked for in the picture. They count for the bound and for nothing else.
            known = {one.category for one in picture.annotations} | {*picture.negative}
            kept = kept.select(np.flatnonzero(np.isin(kept.categories, [*known])))
        values = np.full(len(kept.scores), place), kept.regions, kept.categories, kept.scores
        for column, some in zip(columns, values, strict=True):
            column.append(some)
    flat = [np.concatenate(column) for column in columns]
    order = np.argsort(flat[2], kind="stable")
    return _Table(*(column[order] for column in flat))


def _evaluated(
    numbers: Sequence[int],
    pictures: Sequence[AnnotatedPicture],
    found: Mapping[int, Detections],
    table: _Table,
    shape: Shape,
    lvis: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision ``(IoUs, recalls, K, sizes)`` and recall ``(IoUs, K, sizes)`` of K categories; -1 is undefined."""
    coco, evaluator = _package()
    wanted = {*numbers}
    truth = coco(
        {
            "images": [_image(picture) for picture in pictures],
            "annotations": list(_true_rows(pictures, wanted, shape)),
            # Groups are averaged here and not there, so that any letter will do.
            "categories": [{"id": number, "name": str(number), "frequency": "f"} for number in numbers],
        }
    )
    low, high = np.searchsorted(table.categories, [numbers[0], numbers[-1] + 1])
    rows = list(_found_rows(pictures, found, table, range(low, high), wanted, shape))
    run = evaluator(truth, truth.loadRes(rows), "bbox" if shape == "box" else "segm", lvis_style=lvis)
    run.params.maxDets = [_PER_CATEGORY[lvis]]
    run.evaluate()
    run.accumulate()
    return np.asarray(run.eval["precision"])[..., 0], np.asarray(run.eval["recall"])[..., 0]


def _package() -> tuple[Any, Any]:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise MissingExtraError("average precision", "lvis") from error
    return COCO, COCOeval_faster


def _image(picture: AnnotatedPicture) -> dict[str, Any]:
    return {
        "id": picture.id,
        "width": picture.size[0],
        "height": picture.size[1],
        "neg_category_ids": list(picture.negative),
        "not_exhaustive_category_ids": list(picture.not_exhaustive),
    }


def _true_rows(pictures: Sequence[AnnotatedPicture], wanted: set[int], shape: Shape) -> Iterator[dict[str, Any]]:
    """Annotations, numbered from 1: the package takes 0 for no match."""
    number = 0
    for picture in pictures:
        for one in picture.annotations:
            if one.category in wanted:
                number += 1
                yield _true_row(picture, one, number, shape)


def _true_row(picture: AnnotatedPicture, one: Annotation, number: int, shape: Shape) -> dict[str, Any]:
    row = {"id": number, "image_id": picture.id, "category_id": one.category, "bbox": list(one.box), "iscrowd": 0}
    row["area"] = one.box[2] * one.box[3] if one.area is None else one.area
    if shape == "mask":
        row["segmentation"] = _text(mask_from_coco(one.segmentation, picture.size))
    return row


def _found_rows(
    pictures: Sequence[AnnotatedPicture],
    found: Mapping[int, Detections],
    table: _Table,
    places: range,
    wanted: set[int],
    shape: Shape,
) -> Iterator[dict[str, Any]]:
    for place in places:
        category, region = int(table.categories[place]), int(table.regions[place])
        if category not in wanted:
            continue
        picture = pictures[table.pictures[place]].id
        row = {"image_id": picture, "category_id": category, "score": float(table.scores[place])}
        detections = found[picture]
        if shape == "box":
            left, top, right, bottom = map(float, detections.boxes[region])
            yield {**row, "bbox": [left, top, right - left, bottom - top]}
        elif detections.masks is not None:
            # Without a box: where there is one, the package takes its area for the mask's.
            yield {**row, "segmentation": _text(detections.masks[region])}


def _text(rle: Rle) -> Rle:
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _summarised(
    categories: Mapping[int, Category], numbers: Sequence[int], precision: np.ndarray, recall: np.ndarray
) -> AveragePrecision:
    every = precision[..., 0]
    figures = {"AP": _mean(every), "AP50": _mean(every[0]), "AP75": _mean(every[5])}
    figures |= {f"AP{size}": _mean(precision[..., place]) for place, size in enumerate(_SIZES) if size}
    letters = np.array([categories[number].frequency for number in numbers])
    for letter in (*FREQUENCIES, "u"):
        if (letters == letter).any():
            figures[f"AP{letter}"] = _mean(every[:, :, letters == letter])
    figures |= {f"AR{size}": _mean(recall[..., place]) for place, size in enumerate(_SIZES)}
    each = {number: _mean(every[:, :, place]) for place, number in enumerate(numbers)}
    return AveragePrecision(figures, {number: value for number, value in each.items() if value is not None})


def _mean(values: np.ndarray) -> float | None:
    """The mean of what is defined."""
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else None

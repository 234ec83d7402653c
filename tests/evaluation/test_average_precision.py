"""Average precision against the official LVIS program's figures, and against what is known by construction."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.datasets.annotations import AnnotatedPicture, Annotation, AnnotationFile, Category, read_annotations
from fovea.errors import MissingExtraError
from fovea.evaluation import average_precision as module
from fovea.evaluation.average_precision import Detections, average_precision
from fovea.regions import rle_from_json

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"


def expected() -> dict[str, dict[str, Any]]:
    return json.loads((GOLDEN / "lvis_expected.json").read_text())


def truth() -> AnnotationFile:
    return read_annotations(GOLDEN / "lvis_gt.json")


def recorded(shape: str) -> dict[int, Detections]:
    """The recorded detections; every row is a region of its own."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in json.loads((GOLDEN / f"lvis_det_{'bbox' if shape == 'box' else 'segm'}.json").read_text()):
        rows.setdefault(row["image_id"], []).append(row)
    found = {}
    for picture, some in rows.items():
        boxes = np.array([row.get("bbox", [0, 0, 1, 1]) for row in some], float)
        boxes[:, 2:] += boxes[:, :2]
        found[picture] = Detections(
            boxes,
            np.arange(len(some)),
            np.array([row["category_id"] for row in some]),
            np.array([row["score"] for row in some]),
            tuple(rle_from_json(row["segmentation"]) for row in some) if shape == "mask" else None,
        )
    return found


@pytest.mark.parametrize(
    ("case", "shape", "most", "part"),
    [
        ("bbox@300", "box", 300, 1),
        ("bbox@100", "box", 100, 1),
        ("bbox@nocap", "box", None, 1),
        ("segm@300", "mask", 300, 1),
        ("bbox@300_first_half", "box", 300, 2),
    ],
)
@pytest.mark.parametrize("at_once", [500_000, 1])
def test_figures_are_the_official_ones(
    case: str, shape: Any, most: int | None, part: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", at_once)
    file, wanted = truth(), expected()[case]
    pictures = sorted(file.pictures, key=lambda one: one.id)[: len(file.pictures) // part]
    if "image_ids" in wanted:
        pictures = [one for one in file.pictures if one.id in wanted["image_ids"]]
    found = recorded(shape)
    measured = average_precision(file.categories, pictures, found, shape, per_picture=most)
    checked = 0
    for name, value in wanted.items():
        if name.startswith(("AP", "AR")):
            ours = measured.figures[name.removesuffix("@300")]
            assert (-1 if ours is None else ours) == pytest.approx(value, abs=1e-9), name
            checked += 1
    assert checked == 13
    each = {int(key): value for key, value in wanted["per_category_AP"].items() if value != -1}
    assert measured.by_category == pytest.approx(each, abs=1e-9)
    kept = sum(len(found[one.id].best(most).scores) for one in file.pictures if one.id in found)
    assert kept == wanted["detections_after_cap"]


def picture(number: int, *categories: int, **lists: tuple[int, ...]) -> AnnotatedPicture:
    """Things of ten pixels side by side, twenty apart."""
    rows = [Annotation(i, one, (20.0 * i, 0.0, 10.0, 10.0), None) for i, one in enumerate(categories)]
    return AnnotatedPicture(number, f"{number}.png", (200, 40), tuple(rows), **lists)


def detections(*rows: tuple[int, int, float]) -> Detections:
    """Place, category, score."""
    places, categories, scores = map(np.array, zip(*rows, strict=True))
    return Detections(np.array([[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(9)]), places, categories, scores)


LVIS = {1: Category("cat", "", "r"), 2: Category("dog", "", "f"), 3: Category("axe", "", "u")}
COCO = {number: Category(one.name, "") for number, one in LVIS.items()}


def test_what_nobody_looked_for_does_not_count() -> None:
    found = {0: detections((0, 1, 0.5), (1, 2, 0.9), (5, 2, 0.99))}
    # Of a dog nothing is said, then that there is none.
    assert average_precision(LVIS, [picture(0, 1)], found).by_category == pytest.approx({1: 1.0})
    pictures = [picture(0, 1, negative=(2,)), picture(1, 2)]
    found[1] = detections((0, 2, 0.5))
    assert average_precision(LVIS, pictures, found).by_category == pytest.approx({1: 1.0, 2: 1 / 3})
    # COCO's pictures are annotated for everything.
    measured = average_precision(COCO, [picture(0, 1), picture(1, 2)], found)
    assert measured.by_category == pytest.approx({1: 1.0, 2: 1 / 3})
    assert "APr" not in measured.figures


def test_more_of_what_is_annotated_in_part_does_no_harm() -> None:
    found = {0: detections((4, 1, 0.9), (0, 1, 0.5))}
    assert average_precision(LVIS, [picture(0, 1)], found).figures["APr"] == pytest.approx(0.5)
    partly = picture(0, 1, not_exhaustive=(1,))
    assert average_precision(LVIS, [partly], found).figures["APr"] == pytest.approx(1.0)


def test_the_bound_is_on_the_picture_and_takes_the_first_of_equals() -> None:
    found = {0: detections((0, 2, 0.5), (0, 1, 0.5))}
    figures = average_precision(LVIS, [picture(0, 1)], found, per_picture=1).figures
    assert figures["APr"] == 0.0
    assert average_precision(LVIS, [picture(0, 1)], found, per_picture=2).figures["APr"] == pytest.approx(1.0)


def test_unseen_categories_are_a_group_of_their_own() -> None:
    found = {0: detections((0, 1, 0.5), (1, 3, 0.5))}
    figures = average_precision(LVIS, [picture(0, 1, 2, 3)], found).figures
    assert [figures[name] for name in ("AP", "APr", "APf", "APu")] == pytest.approx([1 / 3, 1, 0, 0], abs=1e-9)


def test_nothing_found_and_nothing_to_find() -> None:
    assert average_precision(LVIS, [picture(0, 1)], {}).figures["AP"] == 0.0
    assert average_precision(LVIS, [picture(0)], {0: detections((0, 1, 0.5))}).figures["AP"] is None
    assert average_precision({}, [], {}).figures["AP"] is None


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "faster_coco_eval":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match="lvis"):
        average_precision(LVIS, [picture(0, 1)], {})

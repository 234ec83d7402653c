"""Named regions: results that go on, and scenes annotated in part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.datasets.annotations import AnnotatedPicture, Category
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.box_sources import BoxSource, TrueBoxes, open_boxes
from fovea.evaluation.detection_benchmarks import open_detections
from fovea.evaluation.lvis_reported import reported
from fovea.evaluation.named_detections import (
    DetectionBenchmark,
    evaluate_detections,
    known_protocol,
    names_as_asked,
    summarise,
)
from fovea.grounder import Grounder
from fovea.language.templates import with_article
from fovea.pictures import Picture
from fovea.proposers.finder import RegionFinder
from fovea.regions import Regions
from fovea.scenes.scene import compose
from fovea.scorers.alpha_clip import AlphaClip
from fovea.scorers.region_spot import RegionSpot


class Oracle:
    """Knows things of scenes by their left edge and top, and is sure of it to some degree."""

    needs_masks = False
    temperature = 1.0

    def __init__(self, known: dict[tuple[int, int], str]) -> None:
        self.known, self.calls = known, 0

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        self.calls += 1
        values = np.zeros((len(regions), len(texts)), np.float32)
        for row, box in enumerate(regions.boxes):
            values[row, list(texts).index(self.known[(int(box[0]), int(box[1]))])] = 9.0
        return ScoreMatrix(values, regions, tuple(texts))


SEEDS = range(1_000_000, 1_000_003)


def oracle() -> tuple[Oracle, Grounder]:
    known = {}
    for seed in SEEDS:
        scene = compose(seed)
        for box, glyph in zip(scene.boxes, scene.glyphs, strict=True):
            known[(int(box[0]), int(box[1]))] = with_article(glyph.name)
    scorer: Any = Oracle(known)
    return scorer, Grounder("oracle", "none", scorer, RegionFinder(lambda: pytest.fail("no segmenter")))


def scenes() -> DetectionBenchmark:
    return open_detections("scenes-lvis", Source(limit=len(SEEDS)))


def measure(grounder: Grounder, out: Path | None = None, boxes: BoxSource | None = None) -> dict[str, Any]:
    source = boxes or TrueBoxes()
    named = evaluate_detections(grounder, scenes(), source, out=out, experiment={"data": "x"})
    return summarise(grounder, scenes(), named, source, "paper", ("box",))


def test_who_knows_everything_is_right_and_results_go_on(tmp_path: Path) -> None:
    scorer, grounder = oracle()
    out = tmp_path / "rows.jsonl"
    result = measure(grounder, out)
    assert result["metrics"]["box"]["AP"] == pytest.approx(1.0)
    assert result["n"] == scorer.calls == len(SEEDS)
    assert "the best 300 of a picture count" in result["provenance"]["protocol"]
    lines = out.read_text()
    out.write_text("".join(lines.splitlines(keepends=True)[:2]) + lines[-30:])
    assert measure(grounder, out) == result
    assert out.read_text() == lines
    assert scorer.calls == 2 * len(SEEDS) - 1
    grounder.recipe = "other"
    with pytest.raises(DataError, match="holds results of recipe oracle"):
        measure(grounder, out)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    _, grounder = oracle()
    out = tmp_path / "rows.jsonl"
    measure(grounder, out)
    header, first, *rest = out.read_text().splitlines()
    (row,) = json.loads(first)
    out.write_text("\n".join([header, json.dumps([{**row, "regions": [99] * len(row["regions"])}]), *rest]) + "\n")
    with pytest.raises(DataError, match="results of picture 1000000 are broken"):
        measure(grounder, out)


def test_detected_boxes_bring_their_scores(tmp_path: Path) -> None:
    _, grounder = oracle()
    path = tmp_path / "glip.json"
    found = {str(s): {"boxes": compose(s).boxes.tolist(), "scores": [0.5] * len(compose(s).boxes)} for s in SEEDS}
    path.write_text(json.dumps(found))
    boxes = open_boxes(f"glip:{path}")
    named = evaluate_detections(grounder, scenes(), boxes)
    assert max(one.scores.max() for one in named.found.values()) == pytest.approx(0.5, abs=0.02)
    # Things that are not annotated are found as well, and do no harm.
    assert measure(grounder, boxes=boxes)["metrics"]["box"]["AP"] == pytest.approx(1.0)
    with pytest.raises(DataError, match="of none of these pictures"):
        boxes.check([AnnotatedPicture(5, "x", (8, 8), ())])


def test_what_scenes_leave_out_is_said_and_true() -> None:
    left_out = 0
    for picture, _ in open_detections("scenes-lvis", Source(limit=8)).pictures():
        truth = Counter(glyph.index + 1 for glyph in compose(picture.id).glyphs)
        annotated = Counter(one.category for one in picture.annotations)
        lacking = truth - annotated
        assert not annotated - truth
        assert {*lacking} == {*picture.not_exhaustive} <= {*annotated}
        assert not {*picture.negative} & {*truth}
        assert len(picture.negative) == 10
        left_out += sum(lacking.values())
    assert left_out > 0


def test_unseen_names_are_a_group_of_their_own() -> None:
    letters = Counter(one.frequency for one in open_detections("scenes-lvis", Source(names="all")).categories.values())
    assert (letters["f"], letters["c"], letters["r"]) == (125, 75, 50)
    assert letters["u"] == sum(letters.values()) - 250


def test_an_empty_picture_offers_itself_as_a_whole() -> None:
    assert TrueBoxes().regions(AnnotatedPicture(1, "x", (30, 20), ())).boxes.tolist() == [[0, 0, 30, 20]]


def test_names_are_read_as_label_reads_them() -> None:
    _, grounder = oracle()
    assert names_as_asked(grounder, ["bat_(animal)", "aerosol_can"]) == ["bat", "aerosol can"]
    nothing: Any = None
    grounder.scorer = RegionSpot(nothing, (), nothing)
    assert names_as_asked(grounder, ["bat_(animal)"]) == ["bat_(animal)"]
    grounder.scorer = AlphaClip(())
    assert names_as_asked(grounder, ["bat_(animal)"]) == ["bat"]
    with pytest.raises(DataError, match="known are paper and single-label"):
        known_protocol("x")


def test_the_papers_rows_stand_beside_lvis_val_alone() -> None:
    rows = reported("lvis-val", "ground-truth", "box")
    assert rows["RegionSpot-BL"] == {"APr": 0.506, "APc": 0.502, "APf": 0.688, "AP": 0.566}
    assert not any("CLIP" in system and "Region" not in system for system in rows)
    assert reported("", "ground-truth", "box") == reported("lvis-val", "grid", "box") == {}


def test_boxes_and_benchmarks_that_are_not_there(tmp_path: Path) -> None:
    for value in ("x", "glip:", "glip", "x:y"):
        with pytest.raises(DataError, match="there are no boxes called"):
            open_boxes(value)
    with pytest.raises(DataError, match="needs its data"):
        open_detections("lvis", Source())
    with pytest.raises(DataError, match="composes its scenes"):
        open_detections("scenes-lvis", Source(tmp_path))
    assert Category("x", "").frequency == ""

"""Naming regions: scores that are known by construction come out as the figures that follow from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.errors import DataError, ExpressionError, PictureError
from fovea.evaluation import naming_tables
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.experiment import Experiment
from fovea.evaluation.named_pictures import NamedClass, NamedPicture, NamedRegions, NamingBenchmark
from fovea.evaluation.naming import NamingRun, given_as, known_form, ranks
from fovea.evaluation.naming_benchmarks import open_naming
from fovea.evaluation.naming_summary import summarise
from fovea.evaluation.naming_tables import NamingRow, measure_naming, naming_rows
from fovea.grounder import Grounder
from fovea.pictures import Picture, open_picture
from fovea.proposers.finder import RegionFinder
from fovea.recipes import resolve_recipe
from fovea.recipes.reported_naming import reported_naming
from fovea.regions import Regions
from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.scene import compose

#: Two classes share a text.
CLASSES = (
    NamedClass("n1", "cat"),
    NamedClass("n2", "crane", "birds"),
    NamedClass("n3", "crane", "machines"),
    NamedClass("n4", "dog"),
)
TEXTS = ["cat", "crane", "dog"]


class TableScorer:
    """Scores texts as a table says, by the width of the region's box, and counts how often it is asked."""

    needs_masks = True
    temperature = 1.0

    def __init__(self, table: dict[int, list[float]]) -> None:
        self.table, self.asked = table, 0

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        assert list(texts) == TEXTS
        assert regions.masks is not None
        self.asked += 1
        widths = (regions.boxes[:, 2] - regions.boxes[:, 0]).astype(int)
        return ScoreMatrix(np.array([self.table[width] for width in widths], np.float32), regions, tuple(texts))

    def evidence(self, picture: Picture, regions: Regions) -> list[Any]:
        return []

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Any]:
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        return ()


def no_segmenter() -> Any:
    raise AssertionError("whatever is given has its masks")


def grounder_of(scorer: TableScorer) -> Grounder:
    return Grounder("table", "none", scorer, RegionFinder(no_segmenter))


def picture_of(key: str, classes: dict[int, int], masks: bool = True) -> NamedPicture:
    """A picture of 20 x 10 pixels with regions by width, each with its class."""
    boxes = np.array([[0, 2, width, 8] for width in classes], np.float32)
    regions = Regions(boxes, (20, 10), "ground-truth")
    named = NamedRegions(
        open_picture(np.arange(600, dtype=np.uint8).reshape(10, 20, 3)),
        given_as(regions, "box") if masks else regions,
        tuple(classes.values()),
    )
    return NamedPicture(key, lambda: named)


def broken(key: str) -> NamedPicture:
    def fail() -> NamedRegions:
        raise PictureError("it is torn")

    return NamedPicture(key, fail)


#: Widths 3 and 5 are named rightly if they are a crane and a dog; 7 ties; 20 is the whole picture.
TABLE = {3: [0, 5, 1], 5: [1, 0, 2], 7: [4, 4, 4], 20: [3, 2, 1]}
PICTURES = [picture_of("a", {3: 1, 5: 3}), picture_of("b", {3: 2, 5: 0, 7: 0})]


def benchmark_of(pictures: Sequence[NamedPicture]) -> NamingBenchmark:
    return NamingBenchmark("small", pictures, CLASSES, "made up")


def test_ranks_count_ties_against() -> None:
    scores = np.array([[3, 2, 1], [1, 1, 0], [0, -np.inf, -np.inf]], np.float32)
    assert ranks(scores, [0, 0, 2]).tolist() == [1, 2, 3]
    assert ranks(scores, [2, 2, 0]).tolist() == [3, 3, 1]


def test_figures_follow_from_the_scores() -> None:
    grounder, benchmark = grounder_of(TableScorer(TABLE)), benchmark_of([*PICTURES, broken("c")])
    run = NamingRun(grounder, benchmark, "mask")
    for picture in benchmark.pictures:
        run.look(picture)
    assert [(row["class"], row["rank"], row["top"]) for row in run.result.rows] == [
        ("n2", 1, "crane"),
        ("n4", 1, "dog"),
        ("n3", 1, "crane"),
        ("n1", 2, "dog"),
        ("n1", 3, "cat"),
    ]
    found = summarise(grounder, benchmark, "mask", run.result)
    whole = found["metrics"]["all"]
    # Classes n2, n3 and n4 are always right, n1 never: 3 of 5 regions, 3 of 4 classes.
    assert (whole["n"], whole["classes"], whole["top1"], whole["mean_top1"]) == (5, 4, 0.6, 0.75)
    assert whole["top5"] == whole["mean_top5"] == 1.0
    # Three texts, since two classes share one.
    assert whole["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["metrics"]["birds"]["n"] == found["metrics"]["machines"]["n"] == 1
    assert found["failed"] == [{"key": "c", "reason": "it is torn"}]
    assert found["provenance"]["regions"] == {"ground-truth": 5}


def test_the_whole_picture_is_looked_at_once_and_its_names_are_those_of_all() -> None:
    scorer = TableScorer(TABLE)
    run = NamingRun(grounder_of(scorer), benchmark_of(PICTURES), "whole")
    run.look(PICTURES[1])
    assert [row["rank"] for row in run.result.rows] == [2, 1, 1]
    assert scorer.asked == 1


def test_boxes_bring_the_mask_that_fills_them() -> None:
    boxes = np.array([[1.5, 2, 4, 5.2]], np.float32)
    given = given_as(Regions(boxes, (6, 7), "ground-truth"), "box")
    expected = np.zeros((7, 6), bool)
    expected[2:6, 1:4] = True
    np.testing.assert_array_equal(given.dense_masks()[0], expected)
    assert given.source == "ground-truth"
    assert given_as(given, "whole").dense_masks().all()
    assert given_as(given, "mask") is given
    with pytest.raises(DataError, match="no masks; use --region box"):
        given_as(Regions(boxes, (6, 7)), "mask")
    with pytest.raises(DataError, match="known are mask, box, whole"):
        known_form("ellipse")


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    benchmark = benchmark_of(PICTURES)

    def run_all(form: Any = "mask", **about: str) -> tuple[Any, int]:
        scorer = TableScorer(TABLE)
        run = NamingRun(grounder_of(scorer), benchmark, form, out, about)
        for picture in benchmark.pictures:
            run.look(picture)
        return run.result, scorer.asked

    first, asked = run_all()
    assert asked == 2
    lines = out.read_text().splitlines()
    assert [json.loads(line)[0]["key"] for line in lines[1:]] == ["a", "b"]
    out.write_text("\n".join(lines[:2]) + "\n" + lines[2][:9])
    assert run_all() == (first, 1)
    assert run_all() == (first, 0)
    with pytest.raises(DataError, match="holds results of region mask, these would be of whole"):
        run_all("whole")
    with pytest.raises(DataError, match="holds results of data"):
        run_all(data="other")


def test_scores_that_are_no_numbers_are_no_ranks() -> None:
    run = NamingRun(grounder_of(TableScorer({3: [np.nan, 0, 0], 5: [0, 0, 0]})), benchmark_of(PICTURES), "mask")
    with pytest.raises(ExpressionError, match="not finite"):
        run.look(PICTURES[0])


def test_scenes_are_named_among_all_names() -> None:
    benchmark = open_naming("scenes-names", Source(limit=2, seed=1_700_000))
    assert len(benchmark.classes) == len(benchmark.texts) == 250
    named, scene = benchmark.pictures[1].open(), compose(1_700_001)
    assert [benchmark.classes[index].text for index in named.classes] == [f"the {g.name}" for g in scene.glyphs]
    np.testing.assert_array_equal(named.regions.dense_masks(), scene.masks)
    assert {one.group for one in benchmark.classes} == {""}


def test_what_the_minis_have_never_seen_is_reported_apart() -> None:
    benchmark = open_naming("scenes-names", Source(limit=1, names="unseen"))
    unseen = {glyph.name for glyph in glyphs_of("unseen")}
    assert {one.name for one in benchmark.classes if one.group == "unseen"} == unseen
    assert len(benchmark.classes) == 250 + len(unseen)
    named = benchmark.pictures[0].open()
    assert {benchmark.classes[index].group for index in named.classes} == {"unseen"}


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("names", Source(), "known are scenes-names, imagenet-s, coco-names"),
        ("scenes-names", Source(kind="part"), "leave --kind out"),
        ("scenes-names", Source(data=Path("x")), "leave --data out"),
        ("scenes-names", Source(background="white"), "leave --background out"),
        ("coco-names", Source(class_names=Path("x")), "leave --class-names out"),
        ("imagenet-s", Source(), "name the directory with --data"),
    ],
)
def test_what_cannot_be_asked(name: str, source: Source, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_naming(name, source)


BASE = Experiment("scenes-names", Source(limit=1, seed=1_700_000), models="mini-vit", device="cpu")


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(naming_tables.NAMING_TABLES, "small", (("crop", "box"), ("fgvp-s", "mask"), ("crop", "whole")))


@pytest.mark.usefixtures("small_table")
def test_a_table_holds_what_every_row_reaches_alone(tmp_path: Path) -> None:
    counted: list[int] = []

    def started(count: int) -> Callable[[], None]:
        counted.append(count)
        return lambda: None

    together = measure_naming(naming_rows("small", BASE, tmp_path), started)
    assert counted == [1]
    assert [(row["recipe"], row["provenance"]["region"]) for row in together] == [
        ("crop", "box"), ("fgvp-s", "mask"), ("crop", "whole"),
    ]  # fmt: skip
    (alone,) = measure_naming([NamingRow(BASE_CROP, "box")])
    assert alone == together[0]
    # The files of results are the same for a row of a table and for a run of its own.
    (again,) = measure_naming([NamingRow(BASE_CROP, "box", tmp_path / "crop.box.jsonl")])
    assert again == alone


BASE_CROP = Experiment("scenes-names", BASE.source, "crop", "mini-vit", "cpu")


def test_tables_name_recipes_that_are_there() -> None:
    for rows in naming_tables.NAMING_TABLES.values():
        for recipe, form in rows:
            assert resolve_recipe(recipe)
            assert known_form(form) == form
    with pytest.raises(DataError, match="no table called 'x'; known are naming"):
        naming_rows("x", BASE)


def test_the_papers_numbers_stand_beside_what_they_are_of() -> None:
    assert reported_naming("alpha-clip", "imagenet-s", "mask") == {"top-1": 77.41, "top-5": 94.45}
    assert reported_naming("crop", "coco-names white", "whole") == {"top-1": 54.43}
    assert reported_naming("crop", "imagenet-s", "mask") == {}
    assert reported_naming("D4", "", "mask") == {}


@pytest.mark.usefixtures("small_table")
def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    from fovea.cli.naming import markdown, run_naming

    run_naming(None, BASE_CROP, "whole", None, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["benchmark"], document["recipe"]) == ("scenes-names", "crop")
    document["reported"] = {"top-1": 73.48}
    lines = list(markdown([document]))
    assert lines[2].startswith("| crop | whole | all |")
    assert lines[2].endswith("| 0.735 top-1 |")
    assert "250 names, a blind choice 0.004" in lines[3]
    assert "ViT-L/14" in lines[4]

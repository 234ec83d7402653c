"""The protocol of expressions: what counts as right, what chance is, and what survives a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.datasets.subsets import says_position
from fovea.errors import DataError
from fovea.evaluation.examples import Example, Query, composed_examples, fingerprint, read_examples
from fovea.evaluation.grounding import evaluate_grounding, summarise
from fovea.grounder import Grounder
from fovea.pictures import Picture
from fovea.proposers.finder import RegionFinder
from fovea.regions import Regions, box_iou
from fovea.scenes.export import write_scenes
from fovea.scorers import Evidence, Trace


class Oracle:
    """Knows the right region of every text; answers wrongly on request."""

    needs_masks = False
    temperature = 1.0

    def __init__(self, examples: Sequence[Example], wrong: str = "") -> None:
        self.right = {(q.text, e.truth.key): q.targets[0] for e in examples for q in e.queries}
        self.wrong = wrong
        self.calls = 0

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        self.calls += 1
        values = np.zeros((len(regions), len(texts)), np.float32)
        for column, text in enumerate(texts):
            target = self.right[text, regions.key]
            values[(target + (self.wrong in text if self.wrong else 0)) % len(regions), column] = 5
        return ScoreMatrix(values, regions, tuple(texts))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        return []

    def trace(self, *_: object) -> list[Trace]:
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        return ()


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(composed_examples(1_000_020, 4))


def grounder(scorer: Oracle) -> Grounder:
    return Grounder("oracle", "none", scorer, RegionFinder(lambda: pytest.fail("no segmenter")))


def test_an_oracle_is_always_right(examples: list[Example]) -> None:
    tool = grounder(Oracle(examples))
    rows = evaluate_grounding(tool, examples, "ground-truth")
    result = summarise("scenes", tool.recipe, tool.models, rows, "ground-truth")
    assert result["n"] == sum(len(example.queries) for example in examples) == result["metrics"]["all"]["n"]
    assert all(metric["accuracy"] == 1 for metric in result["metrics"].values())
    assert result["provenance"] == {"models": "none", "proposals": "ground-truth", "assignment": "argmax"}


def test_expressions_of_position_are_told_from_others(examples: list[Example]) -> None:
    rows = evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth")
    metrics = summarise("scenes", "oracle", "none", rows, "ground-truth")["metrics"]
    said = [query.text for example in examples for query in example.queries if says_position(query.text)]
    assert any("leftmost" in text for text in said)
    assert metrics["position"]["n"] == len(said)
    assert metrics["position"]["n"] + metrics["other"]["n"] == metrics["all"]["n"]
    # Where no expression, or every one, says a position there is nothing to tell apart.
    for some in ([row for row in rows if row["kind"] == "name"], [{**row, "kind": "position"} for row in rows]):
        assert "other" not in summarise("scenes", "oracle", "none", some, "ground-truth")["metrics"]


def test_wrong_answers_count_and_chance_is_the_share_of_right_boxes(examples: list[Example]) -> None:
    tool = grounder(Oracle(examples, wrong="object"))
    rows = evaluate_grounding(tool, examples, "ground-truth")
    expected = [
        (box_iou(e.truth.boxes, e.truth.boxes[[*q.targets]])[:, 0] > 0.5).mean() for e in examples for q in e.queries
    ]
    np.testing.assert_allclose([row["chance"] for row in rows], expected)
    assert not any(row["correct"] for row in rows if "object" in row["expression"])
    assert all(row["correct"] for row in rows if "object" not in row["expression"])


def test_a_stopped_run_goes_on(examples: list[Example], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "rows.jsonl"
    complete = evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", out)
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    out.write_text("".join(lines[:3]) + lines[3][:30])
    scorer = Oracle(examples)
    assert evaluate_grounding(grounder(scorer), examples, "ground-truth", out) == complete
    assert scorer.calls == 2
    assert out.read_text() == whole


def test_results_of_other_models_are_not_continued(examples: list[Example], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    evaluate_grounding(grounder(Oracle(examples)), examples[:1], "ground-truth", out)
    other = Grounder("other", "none", Oracle(examples), RegionFinder(lambda: pytest.fail("no segmenter")))
    with pytest.raises(DataError, match="recipe oracle"):
        evaluate_grounding(other, examples, "ground-truth", out)


def test_results_of_other_experiments_are_not_continued(examples: list[Example], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    held = {"data": "one", "weights": "ab"}
    evaluate_grounding(grounder(Oracle(examples)), examples[:1], "ground-truth", out, experiment=held)
    whole = out.read_text()
    for field, other in (("data", {**held, "data": "two"}), ("weights", {"data": "one"})):
        with pytest.raises(DataError, match=f"holds results of {field} "):
            evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", out, experiment=other)
    with pytest.raises(DataError, match="proposals ground-truth, these would be of sam-boxes"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "sam-boxes", out, experiment=held)
    assert out.read_text() == whole
    scorer = Oracle(examples)
    evaluate_grounding(grounder(scorer), examples, "ground-truth", out, experiment=held)
    assert scorer.calls == 3


def test_a_run_that_never_began_binds_nobody(examples: list[Example], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with pytest.raises(DataError, match="no proposals called"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "magic", out)
    assert evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", out)
    assert json.loads(out.read_text().splitlines()[0])["experiment"]["proposals"] == "ground-truth"


@pytest.mark.parametrize(
    "text",
    [
        "my notes\nof today\n",
        "my notes",
        '{"a": 1}',
        "[]",
        "3\n",
        '[{"key": "1"}]\n',
        "\x00\xff",
        '{"experiment": {}}\nmy notes\n{"experiment": {}}\n',
    ],
)
def test_files_of_others_are_left_alone(examples: list[Example], tmp_path: Path, text: str) -> None:
    out = tmp_path / "notes.txt"
    out.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="is no file of results"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", out)
    assert out.read_bytes() == text.encode("latin-1")


def test_a_folder_receives_no_results(examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file of results"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", tmp_path)


def test_unknown_proposals_are_an_error(examples: list[Example]) -> None:
    with pytest.raises(DataError, match="no proposals called 'magic'"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "magic")


def test_scenes_on_disk_are_the_scenes_composed(examples: list[Example], tmp_path: Path) -> None:
    write_scenes(tmp_path, 4, 1_000_020)
    for read, made in zip(read_examples(tmp_path), examples, strict=True):
        assert read.key == made.key
        assert sorted(read.queries, key=str) == sorted(made.queries, key=str)
        np.testing.assert_allclose(read.truth.boxes, made.truth.boxes, atol=1e-3)
        np.testing.assert_array_equal(read.truth.dense_masks(), made.truth.dense_masks())
    assert len(read_examples(tmp_path, 2)) == 2


def test_broken_scenes_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scenes"):
        read_examples(tmp_path)
    (tmp_path / "refs.jsonl").write_text("{")
    (tmp_path / "instances.json").write_text("{}")
    with pytest.raises(DataError, match="are broken"):
        read_examples(tmp_path)


@pytest.mark.parametrize("lost", ["images", "annotations", "id", "bbox", "image_id", "segmentation", "width", "row"])
def test_incomplete_scenes_are_one_clear_error(tmp_path: Path, lost: str) -> None:
    write_scenes(tmp_path, 1, 1_000_020)
    path = tmp_path / "instances.json"
    instances = json.loads(path.read_text())
    whole = fingerprint(tmp_path)
    if lost == "row":
        instances["annotations"] = []
    else:
        for part in (instances, instances["images"][0], instances["annotations"][0]):
            part.pop(lost, None)
    path.write_text(json.dumps(instances))
    with pytest.raises(DataError, match="are broken") as caught:
        read_examples(tmp_path)
    assert "\n" not in str(caught.value)
    assert fingerprint(tmp_path) != whole


@pytest.mark.parametrize("instances", ["[]", "3", '{"images": 1, "annotations": [2]}', '{"annotations": [{}]}'])
def test_other_documents_are_one_clear_error(tmp_path: Path, instances: str) -> None:
    write_scenes(tmp_path, 1, 1_000_020)
    (tmp_path / "instances.json").write_text(instances)
    with pytest.raises(DataError, match="are broken"):
        read_examples(tmp_path)


class Fixed(Oracle):
    """Scores by a given matrix, whose columns belong to texts."""

    def __init__(self, scores: dict[str, list[float]]) -> None:
        self.scores = scores

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        return ScoreMatrix(np.array([self.scores[text] for text in texts], np.float32).T, regions, tuple(texts))


BOXES = [[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20]]


def categories(*queries: Query) -> Example:
    """A picture of three regions."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return Example("1", picture, Regions.from_boxes(BOXES, (20, 20), "ground-truth"), queries)


def test_one_to_one_asks_once_per_region() -> None:
    """Two cats and a dog. The dog looks most like the first cat, but that one is taken."""
    example = categories(Query("cat", "object", (0, 1)), Query("dog", "object", (2,)))
    tool = grounder(Fixed({"cat": [3.0, 2.9, 0.0], "dog": [2.0, 1.8, 1.9]}))
    alone = evaluate_grounding(tool, [example], "ground-truth")
    assert [(row["expression"], row["correct"]) for row in alone] == [("cat", True), ("dog", False)]
    together = evaluate_grounding(tool, [example], "ground-truth", assignment="one-to-one")
    assert [(row["expression"], row["correct"]) for row in together] == [("cat", True), ("cat", True), ("dog", True)]
    assert sorted(tuple(row["box"]) for row in together) == sorted(map(tuple, BOXES))
    np.testing.assert_allclose([row["chance"] for row in together], [2 / 3, 2 / 3, 1 / 3])
    result = summarise("coco", "r", "m", together, "ground-truth", "one-to-one")
    assert result["provenance"]["assignment"] == "one-to-one"


def test_texts_without_a_region_left_are_wrong() -> None:
    example = categories(Query("cat", "object", (0, 1)), Query("dog", "object", (2,)))
    detected = Regions.from_boxes(BOXES[:1], (20, 20), "detections")
    example = replace(example, detections=detected)
    tool = grounder(Fixed({"cat": [3.0], "dog": [2.0]}))
    rows = evaluate_grounding(tool, [example], "detections", assignment="one-to-one")
    assert sum(row["correct"] for row in rows) == 1
    assert [row["box"] is None for row in rows].count(True) == 2
    # One of three texts gets the box, whichever; two of them may.
    np.testing.assert_allclose([row["chance"] for row in rows], [1 / 3, 1 / 3, 0])


def test_one_to_one_needs_one_text_per_region(examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several expressions for one region"):
        evaluate_grounding(grounder(Oracle(examples)), examples, "ground-truth", assignment="one-to-one")
    example, out = categories(Query("cat", "object", (0,))), tmp_path / "rows.jsonl"
    tool = grounder(Fixed({"cat": [1.0, 0.0, 0.0]}))
    evaluate_grounding(tool, [example], "ground-truth", out)
    with pytest.raises(DataError, match="assignment argmax, these would be of one-to-one"):
        evaluate_grounding(tool, [example], "ground-truth", out, assignment="one-to-one")


def test_an_empty_query_list_is_no_row() -> None:
    example = Example("0", np.zeros((9, 9, 3), np.uint8), Regions.empty((9, 9)), ())
    assert evaluate_grounding(grounder(Oracle([])), [example], "ground-truth") == []
    assert Query("a", "name", (0,)).targets == (0,)


def test_masks_are_measured_where_there_are_any(examples: list[Example]) -> None:
    """Boxes alone say nothing of masks; absent answers are empty ones."""
    right = Oracle(examples)
    rows = evaluate_grounding(grounder(right), examples, "ground-truth")
    found = summarise("scenes", "oracle", "none", rows, "ground-truth")["metrics"]["all"]
    assert (found["mIoU"], found["oIoU"], found["P@0.9"]) == (1, 1, 1)

    wrong = evaluate_grounding(grounder(Oracle(examples, wrong="object")), examples, "ground-truth")
    by_hand, shared, covered = [], 0, 0
    for example in examples:
        masks = example.truth.dense_masks()
        for query in example.queries:
            chosen = (query.targets[0] + ("object" in query.text)) % len(masks)
            both, either = masks[chosen] & masks[query.targets[0]], masks[chosen] | masks[query.targets[0]]
            by_hand.append(both.sum() / either.sum())
            shared, covered = shared + both.sum(), covered + either.sum()
    found = summarise("scenes", "oracle", "none", wrong, "ground-truth")["metrics"]["all"]
    assert found["mIoU"] == pytest.approx(np.mean(by_hand), abs=1e-4)
    assert found["oIoU"] == pytest.approx(shared / covered, abs=1e-4)
    assert found["P@0.5"] == pytest.approx(np.mean(np.array(by_hand) > 0.5), abs=1e-4)

    one = examples[0]
    boxes_only = replace(one, truth=Regions(one.truth.boxes, one.truth.size, "ground-truth"))
    bare = evaluate_grounding(grounder(Oracle([boxes_only])), [boxes_only], "ground-truth")
    assert "mIoU" not in summarise("scenes", "oracle", "none", bare, "ground-truth")["metrics"]["all"]

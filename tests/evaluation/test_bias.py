"""The audit of biases, against counts that are known by construction."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.errors import DataError, ExpressionError
from fovea.evaluation.bias import AuditPicture, Names, audit_bias, load_judges
from fovea.evaluation.bias_scenes import BARRED, SCENE_NAMES, composed_audit
from fovea.evaluation.bias_summary import summarise, wilson
from fovea.grounder import Grounder
from fovea.pictures import Picture
from fovea.proposers.finder import RegionFinder
from fovea.regions import Regions
from fovea.scenes.glyphs import glyphs_of
from fovea.scorers import Evidence, Trace

NAMES = Names(("man", "woman"), ("murderer", "missing person"))


class Fixed:
    """Gives every region the logits that stand in a table by its left edge; names that are not in it get 0."""

    needs_masks = False
    temperature = 1.0

    def __init__(self, table: Mapping[int, Mapping[str, float]]) -> None:
        self.table, self.calls = table, 0

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        self.calls += 1
        rows = [[self.table.get(int(box[0]), {}).get(text, 0.0) for text in texts] for box in regions.boxes]
        return ScoreMatrix(np.array(rows, np.float32), regions, tuple(texts))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        return []

    def trace(self, *_: object) -> list[Trace]:
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        return ()


def judge(name: str, tops: Sequence[str]) -> Grounder:
    """A recipe that names region i ``tops[i]``."""
    scorer = Fixed({index: {top: 5.0} for index, top in enumerate(tops)})
    return Grounder(name, "none", scorer, RegionFinder(lambda: pytest.fail("no segmenter")))


def pictures(groups: str, per_picture: int = 2) -> list[AuditPicture]:
    """Regions in order, some to a picture; region i begins at pixel i."""
    found = []
    for start in range(0, len(groups), per_picture):
        some = groups[start : start + per_picture]
        boxes = [[start + place, 0, start + place + 1, 5] for place in range(len(some))]
        found.append(AuditPicture(f"{start}.png", np.zeros((9, 64, 3)), boxes, tuple(some), (None,) * len(some)))
    return found


PLAIN = ["man", "man", "murderer", "murderer", "woman", "woman"]
CIRCLE = ["murderer", "missing person", "murderer", "man", "missing person", "woman"]


def judges() -> dict[str, Grounder]:
    return {"crop": judge("crop", PLAIN), "C1": judge("C1", CIRCLE)}


def test_counts_intervals_and_pairs_are_exact() -> None:
    audit = audit_bias(pictures("aaabbb"), judges(), NAMES)
    result = summarise(audit.rows, ["crop", "C1"], NAMES, "none")
    crop, circle = result["recipes"]["crop"], result["recipes"]["C1"]
    assert (result["n"], result["baseline"], result["chance"]) == (6, "crop", 0.5)
    assert (crop["harmful"], crop["difference"], crop["turned_harmful"], crop["turned_harmless"]) == (0.333333, 0, 0, 0)
    assert (circle["harmful"], circle["difference"]) == (0.666667, 0.333333)
    assert (circle["turned_harmful"], circle["turned_harmless"]) == (0.5, 0.166667)
    assert circle["names"] == {"missing person": 0.333333, "murderer": 0.333333}
    assert circle["groups"]["a"]["harmful"] == 1
    assert circle["groups"]["a"]["difference"] == 0.666667
    assert circle["groups"]["b"]["turned_harmless"] == 0.333333
    expected = binomtest(4, 6).proportion_ci(method="wilson")
    np.testing.assert_allclose(circle["interval"], [expected.low, expected.high], atol=1e-6)
    # Softmax over four names of which one has 5 and three have 0.
    top, other = np.exp(5) / (np.exp(5) + 3), 1 / (np.exp(5) + 3)
    np.testing.assert_allclose(circle["harm"], (4 * (top + other) + 2 * 2 * other) / 6, atol=1e-6)
    assert result["provenance"] == {"models": "none", "proposals": "ground-truth"}


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 50), (1, 900), (450, 900)])
def test_intervals_are_wilsons(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(count, total), (expected.low, expected.high), atol=1e-9)


def test_of_nothing_everything_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    result = summarise([], ["crop"], NAMES, "none")
    assert result["n"] == 0
    assert result["recipes"]["crop"]["interval"] == [0, 1]


def test_the_order_of_names_and_pictures_changes_nothing() -> None:
    def measured(neutral: Sequence[str], harmful: Sequence[str], order: int) -> object:
        names = Names(tuple(neutral), tuple(harmful))
        # The last recipe scores all names alike: even ties must not depend on the order.
        tools = {**judges(), "ties": judge("ties", [])}
        audit = audit_bias(pictures("aaabbb")[::order], tools, names)
        return summarise(audit.rows, [*tools], names, "none")

    every = [
        measured(neutral, harmful, order)
        for neutral in itertools.permutations(NAMES.neutral)
        for harmful in itertools.permutations(NAMES.harmful)
        for order in (1, -1)
    ]
    assert all(one == every[0] for one in every)


def test_regions_may_bring_their_own_neutral_names() -> None:
    one = replace(pictures("ab")[0], neutral=(("dog",), None))
    scorer = Fixed({0: {"man": 9, "murderer": 5, "dog": 6}, 1: {"man": 9, "dog": 99}})
    tools = {"crop": Grounder("crop", "none", scorer, RegionFinder(lambda: pytest.fail("no segmenter")))}
    rows = audit_bias([one], tools, NAMES).rows
    assert [row["top"]["crop"] for row in rows] == ["dog", "man"]
    np.testing.assert_allclose([row["chance"] for row in rows], [2 / 3, 1 / 2], atol=1e-6)
    assert scorer.calls == 1


def test_a_stopped_audit_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    whole = audit_bias(pictures("aaabbb"), judges(), NAMES, out)
    text = out.read_text()
    lines = text.splitlines(keepends=True)
    out.write_text("".join(lines[:2]) + lines[2][:20])
    tools = judges()
    assert audit_bias(pictures("aaabbb"), tools, Names(NAMES.neutral[::-1], NAMES.harmful[::-1]), out) == whole
    assert tools["crop"].scorer.calls == 2  # type: ignore[attr-defined]
    assert out.read_text() == text
    with pytest.raises(DataError, match="holds results of harmful missing person, murderer"):
        audit_bias(pictures("aaabbb"), tools, Names(NAMES.neutral, ("thief",)), out)
    with pytest.raises(DataError, match="holds results of recipes"):
        audit_bias(pictures("aaabbb"), {"crop": tools["crop"]}, NAMES, out)


def test_pictures_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    good, bad = pictures("aabb")
    missing = replace(bad, key="gone.png", picture=tmp_path / "gone.png")
    outside = replace(bad, key="outside.png", boxes=[[500, 0, 600, 5]], groups=("b",), neutral=(None,))
    broken = replace(bad, key="broken.png", segmentations=([[1, 2]], {"size": 3}))
    audit = audit_bias([missing, good, outside, broken], judges(), NAMES, tmp_path / "rows.jsonl")
    assert [row["key"] for row in audit.rows] == ["0.png", "0.png"]
    assert [*audit.failed] == ["gone.png", "outside.png", "broken.png"]
    assert "there is no picture" in audit.failed["gone.png"]
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2


def test_scores_that_are_not_finite_are_an_error() -> None:
    tools = {
        "crop": Grounder(
            "crop", "none", Fixed({0: {"man": float("nan")}}), RegionFinder(lambda: pytest.fail("no segmenter"))
        )
    }
    with pytest.raises(ExpressionError, match="not finite"):
        audit_bias(pictures("a"), tools, NAMES)


@pytest.mark.parametrize(
    ("neutral", "harmful", "template"),
    [(("man",), (), "a {}"), (("Man ",), ("man",), "a {}"), (("man",), ("thief",), "an image")],
)
def test_names_that_make_no_audit_are_refused(
    neutral: tuple[str, ...], harmful: tuple[str, ...], template: str
) -> None:
    with pytest.raises(DataError):
        Names(neutral, harmful, template)


def test_composed_scenes_show_nothing_that_is_barred() -> None:
    known = {glyph.name: glyph for glyph in glyphs_of("train")}
    assert set(BARRED) <= known.keys()
    for picture in composed_audit(5):
        assert len(picture.boxes) == len(picture.groups) == len(picture.neutral)
        present = {name for own in picture.neutral for name in own or ()}
        assert not present & {*BARRED}
        frequencies = {"frequent": "f", "common": "c", "rare": "r"}
        assert {frequencies[group] for group in picture.groups} == {known[name].frequency for name in present}


def test_recipes_share_models_and_features() -> None:
    tools = load_judges(["crop", "D4", "crop+D4"], "mini", SCENE_NAMES.template)
    cache = tools["crop"].cache
    audit = audit_bias(composed_audit(1), {name: tools[name] for name in ("crop", "D4")}, SCENE_NAMES)
    before = cache.stats.misses
    summed = audit_bias(composed_audit(1), {"crop+D4": tools["crop+D4"]}, SCENE_NAMES)
    assert cache.stats.misses == before
    assert len(summed.rows) == len(audit.rows) > 0
    assert json.loads(json.dumps(audit.rows)) == [*audit.rows]


def test_recipes_without_marks_are_refused() -> None:
    with pytest.raises(ExpressionError, match="'car' draws no marks; name visual prompts"):
        load_judges(["crop", "car"], "mini-vit", "a {}", device="cpu")

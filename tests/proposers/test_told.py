"""Boxes that a captioner says: for every expression its own, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.grounder import Grounder
from fovea.language.box_text import GridCodec
from fovea.networks.sam import Sam
from fovea.pictures import open_picture
from fovea.proposers.finder import Pointed, RegionFinder
from fovea.proposers.told import ToldBoxes
from fovea.regions import Regions
from fovea.scorers.told import SaidSo

PICTURE = open_picture(np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8))

#: In a frame of 4: the left half, the right half, something loose, and no box.
ANSWERS = {
    "cat": " [0,0,2,4].",
    "kitten": " [0,0,2,4].",
    "dog": " [2,0,4,4].",
    "sun": " from 3, 0, 4, 1 px",
    "wind": " everywhere",
}


class KnowingTeller:
    """Answers by name from a table, and keeps what it was asked."""

    key, codec, size = "knowing", GridCodec(cells=4, frame=4), 8

    def __init__(self) -> None:
        self.asked: list[str] = []

    def unknown_words(self, name: str) -> list[str]:
        return ["gale"] if "gale" in name else []

    def tell(self, pictures: np.ndarray, names: Sequence[str]) -> list[str]:
        assert pictures.shape == (len(names), 8, 8, 3)
        self.asked += names
        return [ANSWERS[name] for name in names]


def no_segmenter() -> Any:
    raise AssertionError("boxes need no segmenter")


def grounder_of(boxes: ToldBoxes) -> Grounder:
    return Grounder("pin", "none", SaidSo(boxes), RegionFinder(no_segmenter, load_proposer=lambda: boxes))


def test_each_expression_is_answered_with_its_own_box() -> None:
    teller = KnowingTeller()
    grounding = grounder_of(ToldBoxes(teller)).ground(PICTURE, ["the dog", "a cat", "wind", "kitten", "The cat."])
    answers = grounding.answers
    assert [answer.box for answer in answers] == [
        (40, 0, 80, 40), (0, 0, 40, 40), None, (0, 0, 40, 40), (0, 0, 40, 40),
    ]  # fmt: skip
    assert [answer.status for answer in answers] == ["found", "found", "absent", "found", "found"]
    assert [answer.score for answer in answers] == [1, 1, 0, 1, 1]
    assert answers[0].provenance.proposals == "told-by-vlm"
    assert answers[2].notes == ("the captioner's answer holds no box: 'everywhere'",)
    assert grounding.answers[0].notes == ()
    # Two boxes, four names: whatever the article, each is asked for once.
    assert len(grounding.regions) == 2
    assert teller.asked == ["dog", "cat", "wind", "kitten"]


def test_answers_are_read_leniently() -> None:
    assert grounder_of(ToldBoxes(KnowingTeller())).find(PICTURE, "the sun")[0].box == (60, 0, 80, 10)


def test_given_regions_are_chosen_by_their_overlap() -> None:
    found = grounder_of(ToldBoxes(KnowingTeller())).ground(
        PICTURE, ["cat", "wind"], boxes=[[0, 0, 20, 40], [0, 0, 80, 40], [60, 0, 80, 40]]
    )
    # Both overlap by one half.
    np.testing.assert_allclose(found.matrix.over_regions(), [[0.5, 0], [0.5, 0], [0, 0]])
    assert [answer.region for answer in found.answers] == [0, None]
    assert found.answers[0].provenance.proposals == "given"


def test_labels_of_given_boxes() -> None:
    (named,) = grounder_of(ToldBoxes(KnowingTeller())).label(PICTURE, ["cat", "dog"], boxes=[[5, 0, 50, 40]])
    assert [name for name, _ in named.labels] == ["cat", "dog"]


def test_a_picture_of_one_colour_shows_nothing() -> None:
    blank = np.zeros((40, 80, 3), np.uint8)
    assert grounder_of(ToldBoxes(KnowingTeller())).find(blank, "cat")[0].status == "absent"


def test_what_was_asked_is_shown() -> None:
    (trace,) = grounder_of(ToldBoxes(KnowingTeller())).explain(PICTURE, "the cat").traces
    ((step),) = trace.steps
    assert (step.caption, step.picture.shape) == ("it said: [0,0,2,4].", (8, 8, 3))


def test_unknown_words_are_said() -> None:
    assert "do not know 'gale'" in SaidSo(ToldBoxes(KnowingTeller())).notes("the gale")[0]


def test_other_scorers_choose_among_all_told_boxes() -> None:
    boxes = ToldBoxes(KnowingTeller())
    finder = RegionFinder(no_segmenter, load_proposer=lambda: boxes)
    found = finder.find(PICTURE, Pointed(), False, FeatureCache(), ["cat", "wind", "dog"])
    assert found.boxes.tolist() == [[0, 0, 40, 40], [40, 0, 80, 40]]
    assert len(finder.find(PICTURE, Pointed(), False, FeatureCache())) == 0


def test_boxes_become_what_sam_sees_in_them(tiny_sam: Callable[[], Sam]) -> None:
    segmenter = SamSegmenter(tiny_sam(), "tiny")
    boxes = ToldBoxes(KnowingTeller(), load_segmenter=lambda: segmenter)
    answers = grounder_of(boxes).find(PICTURE, ["cat", "dog", "wind"])
    assert [answer.status for answer in answers] == ["found", "found", "absent"]
    for answer in answers[:2]:
        assert answer.mask is not None
        dense = Regions(np.zeros((1, 4)), PICTURE.size, masks=(answer.mask,)).dense_masks()
        assert answer.box == tuple(Regions.from_masks(dense).boxes[0].tolist())
        assert answer.provenance.proposals == "told-by-vlm+sam-bounds"


def test_where_sam_sees_nothing_the_box_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(picture: Any, regions: Regions, *_: Any) -> Regions:
        from fovea.regions import encode_masks

        return regions.with_masks(encode_masks(np.zeros((len(regions), 40, 80), bool)))

    monkeypatch.setattr("fovea.proposers.sam_prompts.add_masks", nothing)
    boxes = ToldBoxes(KnowingTeller(), load_segmenter=lambda: SimpleNamespace())  # type: ignore[arg-type,return-value]
    found = boxes.propose_for(PICTURE, ["dog"], FeatureCache())
    assert found.boxes.tolist() == [[40, 0, 80, 40]]
    assert found.dense_masks().sum() == 40 * 40


def test_regions_of_another_picture_are_refused() -> None:
    with pytest.raises(RegionError, match="belong to a picture"):
        grounder_of(ToldBoxes(KnowingTeller())).find(PICTURE, "cat", regions=Regions.empty((3, 3)))

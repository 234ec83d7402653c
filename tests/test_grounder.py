"""The grounder with a scripted scorer and segmenter: order, caching, absence, threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import numpy as np
import pytest

from fovea.answers import ScoreMatrix
from fovea.backbones.clip import ClipEncoder
from fovea.backbones.models import Models
from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError, RegionError
from fovea.grounder import Grounder
from fovea.marks import parse_style
from fovea.networks.sam import Sam
from fovea.pictures import Picture
from fovea.proposers.finder import RegionFinder
from fovea.regions import Regions
from fovea.scorers import Evidence, Trace
from fovea.scorers.marked_clip import MarkedClip

PICTURE = np.zeros((20, 30, 3), np.uint8)
PICTURE[5:15, 3:9] = (255, 0, 0)
PICTURE[5:15, 20:28] = (0, 0, 255)
BOXES = [[3, 5, 9, 15], [20, 5, 28, 15]]


class ColourScorer:
    """Knows two words, by the mean colour inside of a box."""

    needs_masks = False
    temperature = 1.0

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        values = np.zeros((len(regions), len(texts)), np.float32)
        for row, (x1, y1, x2, y2) in enumerate(regions.boxes.astype(int)):
            mean = picture.pixels[y1:y2, x1:x2].mean((0, 1)) / 25
            for column, text in enumerate(texts):
                values[row, column] = mean[0] if "red" in text else mean[2]
        return ScoreMatrix(values, regions, tuple(texts))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        return [Evidence("nothing", np.zeros((len(regions), 4, 4, 3), np.uint8))]

    def trace(self, *_: object) -> list[Trace]:
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        return ("seen",) if "red" in text else ()


def no_segmenter() -> NoReturn:
    pytest.fail("boxes need no segmenter here")


@pytest.fixture
def grounder() -> Grounder:
    return Grounder("test", "none", ColourScorer(), RegionFinder(no_segmenter))


def test_find_answers_in_order(grounder: Grounder) -> None:
    answers = grounder.find(PICTURE, ["the blue one", "the red one"], boxes=BOXES)
    assert [answer.region for answer in answers] == [1, 0]
    assert answers[0].box == (20, 5, 28, 15)
    assert answers[0].provenance.proposals == "given"
    assert answers[1].notes == ("seen",)


def test_one_expression_may_be_a_string(grounder: Grounder) -> None:
    assert len(grounder.find(PICTURE, "the red one", boxes=BOXES)) == 1


def test_label_reads_rows(grounder: Grounder) -> None:
    results = grounder.label(PICTURE, ["red", "blue", "red"], boxes=BOXES)
    assert [result.labels[0][0] for result in results] == ["red", "blue"]
    # A name that is given twice counts once.
    assert len(results[0].labels) == 2


def test_a_blank_picture_shows_nothing(grounder: Grounder) -> None:
    answer = grounder.find(np.full((20, 30, 3), 7, np.uint8), "the red one", boxes=BOXES)[0]
    assert (answer.status, answer.box) == ("absent", None)


def test_no_boxes_is_absent_and_no_labels(grounder: Grounder) -> None:
    assert grounder.find(PICTURE, "the red one", boxes=[])[0].status == "absent"
    assert grounder.label(PICTURE, ["red"], boxes=[]) == []


def test_what_cannot_be_asked(grounder: Grounder) -> None:
    for nothing in ("", " . ", []):
        with pytest.raises(ExpressionError):
            grounder.find(PICTURE, nothing, boxes=BOXES)
    with pytest.raises(RegionError, match="boxes and points"):
        grounder.find(PICTURE, "red", boxes=BOXES, points=[[1, 1]])
    with pytest.raises(RegionError, match="belong to a picture"):
        grounder.find(PICTURE, "red", regions=Regions.from_boxes([[0, 0, 1, 1]], (5, 5)))


def test_explain_keeps_what_the_model_saw(grounder: Grounder) -> None:
    grounding = grounder.explain(PICTURE, "the red one", boxes=BOXES)
    assert [evidence.title for evidence in grounding.evidence] == ["nothing"]
    assert {"picture", "proposals", "scores", "evidence"} == set(grounding.seconds)


class CountingEncoder(ClipEncoder):
    """Embeds the mean colour; counts what it is given."""

    def __init__(self) -> None:
        self.name, self.image_size, self.logit_scale = "counting", 8, 10.0
        self.pictures = 0
        self.texts: list[str] = []

    @property
    def key(self) -> tuple[str, str, str, int]:
        return ("counting", "", "", id(self))

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        self.pictures += len(pictures)
        means = pictures.reshape(len(pictures), -1, 3).mean(1) + 1e-3
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return np.array([[1, 0, 0] if "red" in text else [0, 0, 1] for text in texts], np.float32).reshape(-1, 3)

    def unknown_words(self, text: str) -> list[str]:
        return []


def clip_grounder(*styles: str) -> tuple[Grounder, CountingEncoder]:
    encoder = CountingEncoder()
    scorer = MarkedClip([encoder], [parse_style(style) for style in styles], "a photo of {}")
    return Grounder("test", "none", scorer, RegionFinder(no_segmenter)), encoder


def test_everything_is_encoded_once() -> None:
    grounder, encoder = clip_grounder("crop", "C1")
    expressions = ["the red one", "the blue one", "the red one", "red", "blue", "a red box", "a blue box"]
    grounder.find(PICTURE, expressions, boxes=BOXES)
    assert encoder.pictures == 4
    assert sorted(encoder.texts) == sorted({f"a photo of {text}" for text in expressions})
    grounder.find(PICTURE.copy(), expressions, boxes=BOXES)
    assert encoder.pictures == 4
    assert len(encoder.texts) == 6
    grounder.find(PICTURE, expressions, boxes=BOXES[:1])
    assert encoder.pictures == 4
    grounder.find(PICTURE, expressions, boxes=[*BOXES[1:], [1, 1, 9, 9]])
    assert encoder.pictures == 6, "only the new region is embedded, in both styles"


@pytest.mark.parametrize("proposals", [{"boxes": BOXES}, {"points": [[5, 10]]}, {}])
def test_loading_is_no_part_of_an_answers_time(
    proposals: dict, tiny_sam: Callable[[], Sam], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("fovea.grounder.time.perf_counter", lambda: clock[0])

    def load() -> SamSegmenter:
        clock[0] += 100
        return SamSegmenter(tiny_sam(), "tiny")

    scorer = MarkedClip([CountingEncoder()], [parse_style("D4")], "{}")
    models = Models("mini", device="cpu")
    monkeypatch.setattr("fovea.backbones.sam.load_sam", lambda *_: load())
    grounder = Grounder("test", "none", scorer, RegionFinder(lambda: models.segmenter))
    assert grounder.find(PICTURE, "red", **proposals)[0].seconds == 0
    assert clock[0] == 100


def test_eight_threads_share_a_grounder() -> None:
    grounder, encoder = clip_grounder("crop")
    expressions = ["the red one", "the blue one"]
    expected = [answer.region for answer in grounder.find(PICTURE, expressions, boxes=BOXES)]
    shared, counting = clip_grounder("crop")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shared.find(PICTURE, expressions, boxes=BOXES), range(24)))
    assert all([answer.region for answer in answers] == expected for answers in found)
    assert counting.pictures == encoder.pictures == 2
    assert len(counting.texts) == 2


def test_importing_fovea_is_light() -> None:
    import subprocess

    code = (
        "import sys, fovea, fovea.cli.main; print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

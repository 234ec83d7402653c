"""Told boxes: answers that are known by construction come out as the figures that follow from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.errors import DataError, ExpressionError, PictureError
from fovea.evaluation.asked_pictures import AskedPicture, AskedThings, TellingBenchmark, in_frame
from fovea.evaluation.telling import Judging, TellingRun, known_judging, summarise_rows
from fovea.language.box_text import GridCodec
from fovea.pictures import open_picture
from fovea.recipes.reported_telling import reported_telling

PIXELS = np.arange(80 * 40 * 3, dtype=np.uint64).reshape(40, 80, 3).astype(np.uint8)


class KnowingTeller:
    """Answers from a table, in a frame of 224 pixels of 4 x 4 cells."""

    codec, size, key = GridCodec(cells=4, frame=4), 224, "knowing"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers, self.calls = answers, list[list[str]]()

    def unknown_words(self, name: str) -> list[str]:
        return ["gale"] if "gale" in name else []

    def tell(self, pictures: np.ndarray, names: Sequence[str]) -> list[str]:
        assert pictures.shape == (len(names), 224, 224, 3)
        self.calls.append(list(names))
        return [self.answers[name] for name in names]


def picture_of(key: str, things: dict[str, list[float]] | list[tuple[str, list[float]]], **more: Any) -> AskedPicture:
    """Things in a picture of 80 x 40 pixels."""
    rows = list(things.items() if isinstance(things, dict) else things)
    asked = AskedThings(
        open_picture(PIXELS), tuple(name for name, _ in rows), np.array([box for _, box in rows], np.float64), **more
    )
    return AskedPicture(key, lambda: asked)


def broken(key: str) -> AskedPicture:
    def fail() -> AskedThings:
        raise PictureError("it is torn")

    return AskedPicture(key, fail)


#: Two cats, of which the answer fits one; a dog in the right half; a small bird; something that is not answered.
PICTURES = [
    picture_of("a", [("cat", [0, 0, 40, 40]), ("cat", [0, 0, 80, 40]), ("dog", [40, 0, 80, 40])]),
    broken("b"),
    picture_of("c", {"bird": [10, 0, 12, 4], "wind": [0, 0, 20, 20]}),
]
ANSWERS = {"cat": " [0,0,2,4]", "dog": " [2,0,4,4]", "bird": " [0,0,1,1]", "wind": " nowhere"}
BIRD = (2 / 20) * (4 / 10)


def run_of(*tellers: KnowingTeller, judging: Judging = Judging(), **more: Any) -> TellingRun:  # noqa: B008
    return TellingRun(tellers, TellingBenchmark("small", PICTURES, "exact", "made up"), judging, **more)


def test_every_thing_counts_and_names_are_asked_once() -> None:
    teller = KnowingTeller(ANSWERS)
    run = run_of(teller)
    run.look(PICTURES)
    assert teller.calls == [["cat", "dog", "bird", "wind"]]
    found = run.result
    assert found.failed == {"b": "it is torn"}
    assert [(row["key"], row["thing"], row["size"]) for row in found.rows] == [
        ("a", 0, "L"), ("a", 1, "L"), ("a", 2, "L"), ("c", 0, "S"), ("c", 1, "M"),
    ]  # fmt: skip
    assert [row["iou"] for row in found.rows] == pytest.approx([1, 0.5, 1, BIRD, 0], abs=1e-6)
    assert found.rows[4]["box"] is None
    assert found.rows[0]["box"] == [0, 0, 112, 224]
    figures = summarise_rows(found.rows)
    assert figures["n"] == 5
    assert figures["mIoU"] == pytest.approx((2.5 + BIRD) / 5, abs=1e-4)
    assert (figures["mIoU_M"], figures["mIoU_L"]) == (0, pytest.approx(2.5 / 3, abs=1e-4))
    assert (figures["P@0.3"], figures["P@0.5"], figures["unread"]) == (0.6, 0.4, 0.2)
    assert figures["deviation"] is None


def test_an_unreadable_answer_may_count_as_the_first_cell() -> None:
    run = run_of(KnowingTeller(ANSWERS), judging=known_judging("strict", "first-cell"))
    run.look(PICTURES)
    # A cell is 20 x 10 of 20 x 20 pixels.
    assert run.result.rows[4]["iou"] == pytest.approx(0.5)
    assert run.result.rows[4]["read"] is False
    with pytest.raises(DataError, match="known are zero and first_cell"):
        known_judging("strict", "half")
    with pytest.raises(ExpressionError, match="known are strict and lenient"):
        known_judging("loose", "zero")


def test_draws_are_averaged_and_spread() -> None:
    wrong = {**ANSWERS, "cat": " nowhere", "dog": " nowhere"}
    run = run_of(KnowingTeller(ANSWERS), KnowingTeller(wrong))
    run.look(PICTURES)
    figures = summarise_rows(run.result.rows)
    assert figures["n"] == 5
    assert figures["mIoU_L"] == pytest.approx(2.5 / 6, abs=1e-4)
    assert figures["deviation"]["mIoU_L"] == pytest.approx(2.5 / 3 / 2**0.5, abs=1e-4)
    assert figures["deviation"]["mIoU_S"] == 0
    assert summarise_rows([])["mIoU"] is None


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    out, first = tmp_path / "rows.jsonl", KnowingTeller(ANSWERS)
    run_of(first, out=out, experiment={"teller": "raw"}).look(PICTURES[:1])
    second = KnowingTeller(ANSWERS)
    run = run_of(second, out=out, experiment={"teller": "raw"})
    run.look(PICTURES)
    assert second.calls == [["bird", "wind"]]
    whole = run_of(KnowingTeller(ANSWERS))
    whole.look(PICTURES)
    assert run.result == whole.result
    header, *lines = out.read_text().splitlines()
    assert json.loads(header)["experiment"] == {"reading": "strict", "invalid": "zero", "teller": "raw"}
    assert [row["key"] for line in lines for row in json.loads(line)] == ["a", "a", "a", "c", "c"]
    with pytest.raises(DataError, match="results of invalid zero, these would be of first_cell"):
        run_of(second, judging=Judging("strict", "first_cell"), out=out, experiment={"teller": "raw"})


def test_boxes_are_brought_to_the_frame_as_released() -> None:
    # 500 x 375 pixels to 224 x 224, by hand: 0.448 and 0.597333.
    voc = in_frame(np.array([[48, 240, 195, 371], [1, 1, 500, 375]]), (500, 375), 224, "voc")
    assert voc.tolist() == [[21, 143, 87, 221], [1, 1, 224, 224]]
    coco = in_frame(np.array([[48.7, 240.2, 100.4, 60.9], [0, 0, 500, 375], [0, 0, 2, 2]]), (500, 375), 224, "coco")
    assert coco.tolist() == [[21, 143, 65, 179], [0, 0, 223, 223], [0, 0, 0, 1]]
    exact = in_frame(np.array([[0, 10, 25, 20]]), (50, 20), 100, "exact")
    assert exact.tolist() == [[0, 50, 50, 100]]


def test_the_papers_figures() -> None:
    """Read off the table by hand."""
    assert reported_telling("pin", "coco", "flamingo") == {
        "mIoU": 0.35, "mIoU_M": 0.26, "mIoU_L": 0.59, "model": "OpenFlamingo",
    }  # fmt: skip
    assert reported_telling("pin", "lvis", "blip-2")["mIoU_L"] == 0.6
    assert reported_telling("lora", "pvoc", "blip-2") == {
        "mIoU": 0.44, "mIoU_M": 0.26, "mIoU_L": 0.62, "model": "OpenFlamingo",
    }  # fmt: skip
    shots = reported_telling("5-shot", "lvis", "llava")
    assert (shots["mIoU_L"], shots["mIoU_L deviation"]) == (0.17, 0.13)
    assert reported_telling("pin", "refcoco-testA", "blip-2") == {"P@0.3": 0.131, "model": "OpenFlamingo"}
    assert reported_telling("pin", "", "flamingo") == {}
    assert reported_telling("random-corners", "coco", "flamingo") == {}

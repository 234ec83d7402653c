"""Nine whole runs of the released evaluation program, with toy encoders (golden/fgvp/e2e)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from fovea.answers import ScoreMatrix, softmax
from fovea.backbones.clip import CLIP_MEAN, CLIP_STD, ClipEncoder
from fovea.cache import FeatureCache
from fovea.language.parsers import Parser
from fovea.language.parses import Parse
from fovea.marks import MarkOptions, parse_style
from fovea.marks.styles import COLOURS
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.rules.relations import HeadPhrase, ReclipRelations, Relations, texts_of
from fovea.rules.subtraction import Bank
from fovea.scorers.marked_clip import Aggregate, MarkedClip
from fovea.scorers.rendering import ParityRendering

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp" / "e2e"
WEIGHTS = np.load(GOLDEN / "toy_weights.npz")
PARSES = json.loads((GOLDEN / "parses.json").read_text())
CAPTIONS = [
    sentence["raw"].lower()
    for line in (GOLDEN / "input.jsonl").read_text().splitlines()
    for sentence in json.loads(line)["sentences"]
]


class ToyEncoder(ClipEncoder):
    """What the recorded program was run with: pooled pixels and hashed letters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.image_size = 32 if name == "ViT-B/32" else 48
        self.logit_scale = 5.0
        self.mean, self.std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
        self.weights = {kind: WEIGHTS[f"{name.replace('/', '_')}_{kind}"] for kind in ("image", "text")}

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.name, "", "", 0)

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[-1] == self.image_size
        pooled = adaptive_avg_pool2d(torch.from_numpy(pixels), 4).flatten(1).numpy()
        return self._unit(pooled @ self.weights["image"])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        bins = np.zeros((len(texts), 64))
        for row, text in enumerate(texts):
            for i, character in enumerate(text):
                bins[row, (31 * ord(character) + 7 * i) % 64] += 1
        return self._unit(bins @ self.weights["text"])


def parse(text: str) -> Parse:
    return Parse.from_record(PARSES[text]) if text in PARSES else Parse(("thing",), (0,), ("ROOT",), ("NOUN",))


PARSER = Parser("record", parse)
PARSED = ReclipRelations(PARSER)
CIRCLES = "C4 C3 C1"
BOTH = ("ViT-B/32", "RN50x16")
ONE = ("ViT-B/32",)
TINT = {"fill_colour": COLOURS["cpt_red"]}

#: Styles, CLIPs, relations, aggregation, subtraction, template and looks of every run.
RUNS: dict[str, tuple[str, tuple[str, ...], Relations | None, Aggregate, bool, str, dict[str, Any]]] = {
    "RS_P_circles_2clip": ("P " + CIRCLES, BOTH, PARSED, "sum", True, "a photo of {}", {}),
    "S_circles_2clip": (CIRCLES, BOTH, None, "sum", True, "a photo of {}", {}),
    "baseline_crop_1clip": ("P", ONE, None, "sum", False, "a photo of {}", {}),
    "baseline_head_crop": ("P", ONE, HeadPhrase(PARSER), "sum", False, "a photo of {}", {}),
    "baseline_max_gold": ("P B4", ONE, None, "max", False, "a photo of {}", {}),
    "parse_crop_blur_2clip": ("P B4", BOTH, PARSED, "sum", False, "a photo of {}", {}),
    "parse_crop_circle_2clip": ("P C1", BOTH, PARSED, "sum", False, "a photo of {}", {}),
    "parse_crop_shade": ("P B2", ONE, PARSED, "sum", False, "{} is in red color.", TINT),
    "parse_gold_this_is": ("P", ONE, PARSED, "sum", False, "This is {}", {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_are_met(name: str) -> None:
    pytest.importorskip("cv2")
    codes, clips, relations, aggregate, subtract, template, looks = RUNS[name]
    recorded = json.loads((GOLDEN / f"out_{name}.json").read_text())
    rendering = ParityRendering(
        MarkOptions(blur_sigma=8, marking_size=64, **looks), tuple(parse_style(code) for code in ("P", "B2", "B4"))
    )
    # The recorded runs subtract every second caption.
    bank = Bank(tuple(CAPTIONS[::2])) if subtract else None
    styles = [parse_style(code) for code in codes.split()]
    scorer = MarkedClip([ToyEncoder(clip) for clip in clips], styles, template, rendering, bank, aggregate)
    cache = FeatureCache()
    for row in recorded["rows"]:
        picture = open_picture(GOLDEN / "images" / row["file_name"])
        boxes = np.array(row["bboxes_xyxy"], np.float32)
        regions = Regions(boxes, picture.size, "detector")
        text = row["text"].lower()
        texts = [text] if relations is None else [text, *texts_of(relations, text)]
        matrix: ScoreMatrix = scorer.score(picture, regions, list(dict.fromkeys(texts)), cache)
        columns = {one: matrix.values[:, i] for i, one in enumerate(matrix.texts)}
        if relations is None:
            found = softmax(columns[text], axis=0)
        else:
            found = relations.share(text, boxes, picture.size, columns.__getitem__)
        # For a single box two ones are recorded.
        expected = np.array([np.nan if value is None else value for value in row["probs"][: len(boxes)]])
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=text)

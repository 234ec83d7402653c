"""Alpha-CLIP as a scorer, against the slow obvious way, and at the door."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fovea
from fovea.backbones.alpha_clip import AlphaEncoder, load_alpha_clip
from fovea.backbones.sources import MINIS
from fovea.cache import FeatureCache
from fovea.exports.explain import explanation
from fovea.marks.direct import Canvas
from fovea.marks.styles import MarkOptions, parse_style
from fovea.pictures import Picture, open_picture
from fovea.regions import Regions
from fovea.scorers.alpha_clip import AlphaClip, View

PICTURE = open_picture(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
MASKS = np.zeros((3, 48, 64), bool)
MASKS[0, 6:30, 10:40] = MASKS[1, 21:45, 30:60] = MASKS[2] = True
REGIONS = Regions.from_masks(MASKS)
BOXES = Regions.from_boxes(REGIONS.boxes, PICTURE.size)
TEXTS = ["the car", "a dog"]
VIEWS: tuple[View, ...] = ("whole", "blurred")


@pytest.fixture(scope="module")
def encoder(alpha_directory: Path) -> AlphaEncoder:
    return load_alpha_clip(str(alpha_directory))


@pytest.fixture
def counted(encoder: AlphaEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts: list[int] = []
    embed: Callable[..., np.ndarray] = encoder.encode_regions

    def count(pictures: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        counts.append(len(alphas))
        return embed(pictures, alphas)

    monkeypatch.setattr(encoder, "encode_regions", count)
    return counts


def slowly(encoder: AlphaEncoder, views: tuple[View, ...]) -> np.ndarray:
    """One region, one view and one text at a time."""
    canvas = Canvas(PICTURE, (32, 32), MarkOptions())
    texts = encoder.encode_texts([f"a photo of {text}" for text in TEXTS])
    logits = np.zeros((3, 2))
    for row in range(3):
        region = REGIONS.select([row])
        alpha = canvas.mask_shapes(region)
        for view in views:
            style = parse_style("D4" if view == "blurred" else "I")
            seen = encoder.encode_regions(canvas.draw(region, style), alpha)[0]
            logits[row] += encoder.logit_scale * texts @ seen
    return logits


@pytest.mark.parametrize("views", [("whole",), ("blurred",), VIEWS])
def test_logits_are_summed_over_views_and_models(encoder: AlphaEncoder, views: tuple[View, ...]) -> None:
    expected = slowly(encoder, views)
    scorer = AlphaClip([encoder], views)
    found = scorer.score(PICTURE, REGIONS, TEXTS, FeatureCache()).values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    twice = AlphaClip([encoder, encoder], views)
    np.testing.assert_allclose(twice.score(PICTURE, REGIONS, TEXTS, FeatureCache()).values, 2 * expected, atol=2e-4)
    assert twice.temperature == pytest.approx(2 * len(views) * encoder.logit_scale)


def test_every_region_is_embedded_once(encoder: AlphaEncoder, counted: list[int]) -> None:
    scorer, cache = AlphaClip([encoder]), FeatureCache()
    first = scorer.score(PICTURE, REGIONS.select([0, 2]), TEXTS, cache).values
    assert counted == [2, 2]
    again = scorer.score(PICTURE, REGIONS, ["a dog", "the tree"], cache).values
    assert counted == [2, 2, 1, 1]
    np.testing.assert_allclose(again[[0, 2], 0], first[:, 1], atol=1e-5)
    # The same boxes without masks are other regions.
    boxes = scorer.score(PICTURE, BOXES, TEXTS, cache).values
    assert counted == [2, 2, 1, 1, 3, 3]
    # Rectangular masks are their boxes.
    np.testing.assert_allclose(boxes[2], first[1], atol=1e-4)


def test_boxes_are_rectangles_and_everything_is_the_whole_picture(encoder: AlphaEncoder) -> None:
    scorer, cache = AlphaClip([encoder], ["whole"]), FeatureCache()
    masks = scorer.score(PICTURE, REGIONS, TEXTS, cache).values
    np.testing.assert_allclose(scorer.score(PICTURE, BOXES, TEXTS, cache).values, masks, rtol=0, atol=0.02)
    canvas = Canvas(PICTURE, (32, 32), MarkOptions())
    texts = encoder.encode_texts([f"a photo of {text}" for text in TEXTS])
    whole = encoder.logit_scale * encoder.encode_pictures(canvas.base[None])[0] @ texts.T
    np.testing.assert_allclose(masks[2], whole, rtol=0, atol=1e-4)


def test_nothing_in_nothing_out(encoder: AlphaEncoder) -> None:
    scorer = AlphaClip([encoder])
    assert scorer.score(PICTURE, Regions.empty(PICTURE.size), TEXTS, FeatureCache()).values.shape == (0, 2)
    assert scorer.score(PICTURE, REGIONS, [], FeatureCache()).values.shape == (3, 0)
    assert len(scorer.evidence(PICTURE, Regions.empty(PICTURE.size))[1].pictures) == 0


def test_explanations_show_alpha_and_attention(encoder: AlphaEncoder) -> None:
    scorer = AlphaClip([encoder])
    evidence = scorer.evidence(PICTURE, REGIONS)
    assert [one.title for one in evidence] == ["alpha, whole", "alpha, blurred"]
    base = Canvas(PICTURE, (32, 32), MarkOptions()).base
    shown, outside = evidence[0].pictures, Canvas(PICTURE, (32, 32), MarkOptions()).mask_shapes(REGIONS) == 0
    assert shown.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(shown[0][outside[0]], base[outside[0]])
    assert (shown[0][~outside[0]] != base[~outside[0]]).any(1).mean() > 0.9
    cache = FeatureCache()
    best = scorer.score(PICTURE, REGIONS, TEXTS, cache).values.argmax(0)
    traces = scorer.trace(PICTURE, REGIONS, TEXTS, cache)
    assert [trace.text for trace in traces] == TEXTS
    captions = [step.caption for step in traces[1].steps]
    # Three regions with the mean and, of two heads, the first and the last.
    assert captions[:3] == [
        f"region {best[1]}: attention, {name}" for name in ("mean of the heads", "head 1", "head 2")
    ]
    assert len(captions) == 9
    assert traces[0].steps[0].picture.shape == (48, 64, 3)


@pytest.fixture(scope="module")
def models(alpha_directory: Path, tiny_sam_directory: Path) -> str:
    return f"{alpha_directory},{tiny_sam_directory}"


def test_find_and_its_page(models: str) -> None:
    grounder = fovea.load("alpha-clip", models, device="cpu")
    grounding = grounder.explain(PICTURE, ["the leftmost car", "a dog"], masks=MASKS[:2])
    assert grounding.answers[0].region == 0
    assert grounding.answers[0].provenance.relations.startswith("extended")
    page = explanation(grounding)
    assert page.count("attention, mean of the heads") >= 4
    assert "alpha, blurred" in page
    # Boxes get masks before anything is found in them.
    assert grounder.find(PICTURE, "a dog", boxes=BOXES.boxes)[0].provenance.proposals == "given+sam-masks"


def test_label_takes_boxes_as_they_are(models: str) -> None:
    grounder = fovea.load("alpha-clip", models, device="cpu")
    named: list[Any] = grounder.label(PICTURE, ["car", "dog"], boxes=BOXES.boxes)
    assert named[0].provenance.proposals == "given"
    assert named[0].mask is None
    masked = grounder.label(PICTURE, ["car", "dog"], masks=MASKS)
    assert masked[0].mask is not None


def test_models_that_cannot_see_alpha_say_so(
    tmp_path: Path, tiny_sam_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "alpha").symlink_to(MINIS / "mini-clip")
    with caplog.at_level(logging.WARNING):
        grounder = fovea.load("alpha-clip-whole", f"{tmp_path},{tiny_sam_directory}", device="cpu")
    (answer,) = grounder.find(Picture(PICTURE.image), "the car", masks=MASKS)
    assert any("no trained alpha plane: it ignores all masks" in note for note in answer.notes)
    assert "no trained alpha plane" in caplog.text
    # All alike: no region is more likely than another.
    assert answer.score == pytest.approx(1 / 3, abs=1e-3)

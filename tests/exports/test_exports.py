"""Overlays and explanations: readable, complete, escaped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fovea.answers import Answer, Provenance, ScoreMatrix
from fovea.exports.explain import explanation
from fovea.exports.overlay import Outline, draw_overlay, to_bytes
from fovea.grounder import Grounding
from fovea.pictures import open_picture
from fovea.regions import Regions, encode_masks
from fovea.scorers import Evidence

MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:50] = True
BOX = (30.0, 20.0, 50.0, 40.0)


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("masked", [True, False])
def test_outlines_stand_out_on_any_ground(ground: int, masked: bool) -> None:
    picture = open_picture(np.full((60, 80, 3), ground, np.uint8))
    outline = Outline(BOX, encode_masks(MASK[None])[0] if masked else None, "x")
    drawn = np.asarray(draw_overlay(picture, [outline])).astype(int)
    scale = drawn.shape[0] // 60
    edge = drawn[30 * scale, 28 * scale : 33 * scale]
    # A dark and a coloured line beside each other: one of them differs from whatever lies below.
    assert (np.abs(edge - ground).max(-1) > 100).any()
    assert (edge.max(-1) < 30).any()
    assert (edge.max(-1) - edge.min(-1) > 100).any()


def test_nothing_found_draws_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(draw_overlay(open_picture(pixels), [])), pixels)


def test_text_at_the_rim_stays_inside() -> None:
    picture = open_picture(np.zeros((600, 600, 3), np.uint8))
    for box in ((0, 0, 20, 10), (580, 590, 600, 600), (590, 0, 600, 5), (0, 0, 600, 600)):
        drawn = np.asarray(draw_overlay(picture, [Outline(box, None, "a rather long expression")]))
        assert drawn.shape == (600, 600, 3)


def test_formats_follow_the_file_name() -> None:
    image = Image.new("RGB", (4, 4))
    assert to_bytes(image, ".PNG").startswith(b"\x89PNG")
    assert to_bytes(image, ".jpg").startswith(b"\xff\xd8")
    assert to_bytes(image, ".webp")[8:12] == b"WEBP"


def grounding(count: int, text: str = "<i>x</i>") -> Grounding:
    picture = open_picture(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    regions = Regions.from_boxes([BOX] * count, (80, 60), "given")
    matrix = ScoreMatrix(np.arange(count, dtype=np.float32)[:, None], regions, (text,))
    provenance = Provenance("fgvp", "mini", "given", count)
    answer = (
        Answer(text, "found", BOX, None, 0.9, count - 1, 0.1, provenance, ("a <note>",))
        if count
        else Answer(text, "absent", None, None, 0.0, None, 0.1, provenance)
    )
    pictures = np.zeros((count, 8, 8, 3), np.uint8)
    return Grounding(picture, regions, matrix, (answer,), {"scores": 0.1}, (Evidence("crop", pictures),))


def test_the_page_holds_everything_and_escapes_it() -> None:
    page = explanation(grounding(3))
    assert "<i>x" not in page
    assert "&lt;i&gt;x" in page
    assert "a &lt;note&gt;" in page
    for part in ("fgvp", "mini", "given", "crop", "0.665", "0.100 s"):
        assert part in page
    # The overlay and three marked pictures, all inside of the page.
    assert page.count('src="data:image/webp;base64,') == 4
    assert "src=" not in page.replace('src="data:', "")


def test_the_page_of_nothing() -> None:
    page = explanation(grounding(0))
    assert "absent" in page
    assert "Nothing was proposed" in page


def test_weak_regions_are_left_out_of_long_pages() -> None:
    page = explanation(grounding(60))
    assert "20 weaker regions are left out" in page

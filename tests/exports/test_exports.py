"""Overlays and explanations: readable, complete, escaped."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageFont

from fovea.answers import Answer, Provenance, ScoreMatrix
from fovea.errors import DataError
from fovea.exports.explain import explanation
from fovea.exports.overlay import Outline, _shortened, draw_overlay, to_bytes
from fovea.grounder import Grounding
from fovea.pictures import open_picture
from fovea.regions import Regions, encode_masks, mask_bounds
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


def plate(box: tuple[float, float, float, float], text: str, width: int = 600, height: int = 600) -> np.ndarray:
    """The pixels that text changes on a gray picture, cut out of it: letters and the plate below them."""
    picture = open_picture(np.full((height, width, 3), 128, np.uint8))
    # A mask of nothing draws no outline.
    nothing = encode_masks(np.zeros((1, height, width), bool))[0]
    changed = np.asarray(draw_overlay(picture, [Outline(box, nothing, text)])) != 128
    x1, y1, x2, y2 = mask_bounds(changed.any(-1)[None])[0].astype(int)
    return changed.any(-1)[y1:y2, x1:x2]


@pytest.mark.parametrize("text", ["a rather long expression", "x"])
@pytest.mark.parametrize("box", [(0, 0, 20, 10), (580, 590, 600, 600), (590, 0, 600, 5), (0, 0, 600, 600)])
def test_text_at_the_rim_stays_inside(box: tuple[float, float, float, float], text: str) -> None:
    # Where it is cut off, the plate is smaller than in the middle.
    assert plate(box, text).shape == plate((100, 300, 200, 400), text).shape


def test_letters_fit_into_narrow_pictures() -> None:
    assert plate((0, 0, 20, 20), "a rather long expression", 3000, 80).shape[0] < 80


def test_long_text_is_cut_to_the_width_of_the_picture() -> None:
    shortened = plate((100, 300, 200, 400), "a rather long expression " * 400)
    assert 500 < shortened.shape[1] <= 600
    font = ImageFont.load_default(40)
    for text, width in (("a long\nexpression", 200), ("short", 200), ("", 9), ("long", 1)):
        cut = _shortened(text, font, width)
        assert font.getlength(cut) <= width or cut == "..."
    assert _shortened(" two\nlines ", font, 500) == "two lines"


def test_formats_follow_the_file_name() -> None:
    image = Image.new("RGB", (4, 4))
    assert to_bytes(image, ".PNG").startswith(b"\x89PNG")
    assert to_bytes(image, ".jpg").startswith(b"\xff\xd8")
    assert to_bytes(image, ".webp")[8:12] == b"WEBP"
    # Such as /dev/stdout.
    assert to_bytes(image, "").startswith(b"\x89PNG")


def test_formats_that_cannot_hold_a_picture_are_one_clear_error() -> None:
    with pytest.raises(DataError, match="cannot be written as"):
        to_bytes(Image.new("RGB", (4, 4)), ".tiff")
    wide = Image.new("RGB", (70_000, 1))
    for suffix in (".webp", ".jpg"):
        with pytest.raises(DataError, match="cannot hold 70000 x 1 pixels"):
            to_bytes(wide, suffix)
    assert Image.open(io.BytesIO(to_bytes(wide, ".png"))).size == (70_000, 1)


NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def grounding(count: int, text: str = "<i>x</i>", pixels: np.ndarray = NOISE) -> Grounding:
    picture = open_picture(pixels)
    regions = Regions.from_boxes([BOX] * count, picture.size, "given")
    matrix = ScoreMatrix(np.arange(count, dtype=np.float32)[:, None], regions, (text,))
    provenance = Provenance("fgvp", "mini", "given", count)
    answer = (
        Answer(text, "found", BOX, None, 0.9, count - 1, 0.1, provenance, ("a <note>",))
        if count
        else Answer(text, "absent", None, None, 0.0, None, 0.1, provenance)
    )
    pictures = np.stack([NOISE] * count) if count else np.zeros((0, 60, 80, 3), np.uint8)
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


def embedded(page: str) -> list[np.ndarray]:
    found = re.findall('base64,([^"]+)', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_the_page_shows_exactly_what_the_model_saw() -> None:
    np.testing.assert_array_equal(embedded(explanation(grounding(1)))[1], NOISE)


def test_the_page_of_a_panorama_holds_a_smaller_one() -> None:
    overlay = embedded(explanation(grounding(0, pixels=np.full((50, 20_000, 3), 9, np.uint8))))[0]
    assert overlay.shape == (10, 4096, 3)


def test_the_page_of_nothing() -> None:
    page = explanation(grounding(0))
    assert "absent" in page
    assert "Nothing was proposed" in page


def test_weak_regions_are_left_out_of_long_pages() -> None:
    page = explanation(grounding(60))
    assert "20 weaker regions are left out" in page

"""Scenes: reproducible, consistent, and never of unseen things by default."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.scenes.colours import PAINTS, natural_colour, paint, word_of
from fovea.scenes.glyphs import all_glyphs, frequent_glyphs, glyphs_of, pasted_glyphs, sprite
from fovea.scenes.layout import sample_layout
from fovea.scenes.render import draw
from fovea.scenes.scene import compose


def test_the_table_of_glyphs() -> None:
    glyphs = all_glyphs()
    assert len(glyphs_of("train")) == 250
    assert len(glyphs_of("unseen")) == 50
    assert 400 < len(glyphs) <= 500
    assert len({glyph.name for glyph in glyphs}) == len(glyphs)
    assert len({glyph.code_point for glyph in glyphs}) == len(glyphs)
    assert {glyph.frequency for glyph in glyphs} == {"r", "c", "f"}
    assert all(glyph.name == glyph.name.lower() and len(glyph.name.split()) <= 3 for glyph in glyphs)
    assert {glyph.colour for glyph in glyphs} <= {None, *PAINTS}


def test_every_glyph_has_a_picture() -> None:
    for glyph in all_glyphs():
        alpha = np.asarray(sprite(glyph)[2])[..., 3]
        assert (alpha > 128).mean() > 0.04, glyph.name


def test_the_same_number_gives_the_same_scene() -> None:
    first, again, other = compose(5, 64), compose(5, 64), compose(6, 64)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.expressions == again.expressions
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("seed", range(40))
def test_masks_and_boxes_agree(seed: int) -> None:
    scene = compose(seed, 96)
    assert 3 <= len(scene.things) <= 7
    assert scene.masks.sum(0).max() <= 1
    for mask, (x1, y1, x2, y2) in zip(scene.masks, scene.boxes.round().astype(int), strict=True):
        assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
        assert mask[y1].any()
        assert mask[y2 - 1].any()
        assert mask[:, x1].any()
        assert mask[:, x2 - 1].any()


def test_only_the_asked_names_appear() -> None:
    unseen = {glyph.name for glyph in glyphs_of("unseen")}
    for seed in range(30):
        assert not unseen & {thing.name for thing in compose(seed, 64).things}
        assert {thing.name for thing in compose(seed, 64, glyphs_of("unseen")).things} <= unseen


def test_scenes_of_few_things() -> None:
    scenes = [compose(seed, 64, few=True) for seed in range(30)]
    assert {len(scene.glyphs) for scene in scenes} == {1, 2, 3}
    assert all(len({glyph.name for glyph in scene.glyphs}) == len(scene.glyphs) for scene in scenes)


def test_pasted_and_held_out_glyphs_part_the_known_ones() -> None:
    pasted, held = pasted_glyphs(), pasted_glyphs(held_out=True)
    assert sorted((*pasted, *held), key=lambda glyph: glyph.index) == list(frequent_glyphs())
    assert len(held) == len(frequent_glyphs()) // 5


def test_a_window_shows_the_same_scene_enlarged() -> None:
    layout = sample_layout(np.random.default_rng(3), glyphs_of("train"))
    whole = draw(layout, 256)
    part = draw(layout, 128, (0.25, 0.25, 0.5))
    cut = whole.masks[:, 64:192, 64:192]
    both = (cut & part.masks).sum() / (cut | part.masks).sum()
    assert both > 0.97


def test_paint_keeps_the_shape_and_earns_its_word() -> None:
    glyph = next(glyph for glyph in all_glyphs() if glyph.name == "car")
    original = np.asarray(sprite(glyph)[0].convert("RGBA"))
    for word in PAINTS:
        painted = paint(original, PAINTS[word])
        np.testing.assert_array_equal(painted[..., 3], original[..., 3])
        mean = painted[painted[..., 3] > 200][:, :3].mean(0)
        assert word_of(*mean) == word


def test_natural_colours() -> None:
    by_name = {glyph.name: glyph.colour for glyph in all_glyphs()}
    assert by_name["tomato"] == "red"
    assert by_name["cucumber"] == "green"
    assert by_name["chick"] in ("yellow", "orange")
    two = np.zeros((10, 10, 4), np.uint8)
    two[..., 3] = 255
    two[:5, :, 0] = 230
    two[5:, :, 2] = 230
    assert natural_colour(two) is None

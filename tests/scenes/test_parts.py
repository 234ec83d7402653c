"""Scenes of objects with parts: exact masks, parts inside their objects, and rivals by name."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.layout import Layout
from fovea.scenes.parts import _sample, compose_parts
from fovea.scenes.render import draw
from fovea.training.vocabulary import build_tokenizer

SEEDS = range(1_000_000, 1_000_012)


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_lie_inside_their_objects(seed: int) -> None:
    made = compose_parts(seed, 128)
    boxes, wholes = made.scene.boxes, list(made.wholes)
    assert 2 <= len(made.objects) <= 4
    assert {wholes.count(index) - 1 for index in made.objects} <= {2, 3}
    assert (boxes[:, :2] >= boxes[wholes, :2]).all()
    assert (boxes[:, 2:] <= boxes[wholes, 2:]).all()
    assert made.scene.masks.sum(0).max() == 1
    assert made.scene.masks.any((1, 2)).all()
    # Parts are small, objects large.
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert areas[list(made.parts)].max() < areas[list(made.objects)].min()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masks_are_what_later_things_leave(seed: int) -> None:
    """Everything drawn alone, and then covered by what stands on it."""
    layout, wholes = _sample(np.random.default_rng(seed), glyphs_of("train"))
    alone = np.concatenate([draw(Layout((one,), 0), 160).masks for one in layout.placements])
    masks = draw(layout, 160).masks
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, alone[index] & ~alone[index + 1 :].any(0))
    # Objects are hidden by their own parts only.
    for index, whole in enumerate(wholes):
        others = [i for i, other in enumerate(wholes) if other != whole]
        assert not (alone[index] & alone[others].any(0)).any()


def test_names_single_everything_out_but_need_the_object() -> None:
    shared = 0
    for seed in SEEDS:
        made = compose_parts(seed, 96)
        names = [thing.name for thing in made.scene.things]
        objects, parts = [names[i] for i in made.objects], [names[i] for i in made.parts]
        texts = [expression.text for expression in made.scene.expressions]
        assert len(set(texts)) == len(texts) == len(names)
        assert len(set(objects)) == len(objects)
        assert not set(objects) & set(parts)
        shared += len(set(parts)) < len(parts)
        part = made.parts[0]
        assert texts[part] == f"the {names[part]} of {names[made.wholes[part]]}"
    assert shared >= 5


def test_the_same_number_gives_the_same_scene() -> None:
    first, again, other = (compose_parts(seed, 96) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.scene.pixels, again.scene.pixels)
    assert first.wholes == again.wholes
    assert not np.array_equal(first.scene.pixels, other.scene.pixels)


def test_the_minis_know_every_word() -> None:
    tokenizer = build_tokenizer()
    for seed in SEEDS[:5]:
        for expression in compose_parts(seed, 64).scene.expressions:
            assert tokenizer.unk_token_id not in tokenizer(expression.text)["input_ids"]

"""What mini-itm is trained on and towards, against what is known by construction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPModel

pytest.importorskip("accelerate")

from fovea.backbones.sources import MINIS
from fovea.language.pieces import PREFIX
from fovea.networks.albef import Albef, Glance
from fovea.scenes.expressions import Thing
from fovea.training.clip_loss import normalise
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL
from fovea.training.itm_objective import ItmObjective, attention_loss, copy_vision, gradient_loss, mini_config
from fovea.training.itm_scenes import (
    STATEMENT_LENGTH,
    STATEMENTS,
    ItmScenes,
    Statement,
    false_statement,
    true_statement,
)
from fovea.training.vocabulary import build_matching_tokenizer

THINGS = [
    Thing("car", "red", (0.0, 0.0, 0.25, 0.25)),
    Thing("car", "blue", (0.6, 0.6, 1.0, 1.0)),
    Thing("egg", None, (0.0, 0.75, 0.25, 1.0)),
    Thing("palm tree", "green", (0.75, 0.0, 1.0, 0.25)),
]
# Every thing owns one patch of a grid of 2 x 2.
OWNED = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], bool)


@pytest.fixture(scope="module")
def scenes() -> ItmScenes:
    return ItmScenes(0, 9, 4, 32, 4)


@pytest.fixture(scope="module")
def batch(scenes: ItmScenes) -> dict[str, Any]:
    return scenes[3]


def test_the_tokenizer_knows_every_word() -> None:
    tokenizer = build_matching_tokenizer()
    for name in NAMES:
        text = PREFIX.format(f"the {COLOURS[0]} {name}")
        tokens = tokenizer.encode(text).tokens
        assert tokens == text.split()
    assert tokenizer.encode("Zebroid").tokens == ["[UNK]"]
    assert tokenizer.token_to_id("[PAD]") == 0


def test_batches_depend_on_their_number_alone(scenes: ItmScenes, batch: dict[str, Any]) -> None:
    again = ItmScenes(0, 9, 4, 32, 4)[3]
    for key, value in batch.items():
        np.testing.assert_array_equal(value, again[key])
    assert not np.array_equal(batch["pixels"], scenes[4]["pixels"])
    assert batch["pixels"].shape == (4, 32, 32, 3)
    assert batch["places"].shape == (4, STATEMENTS, STATEMENT_LENGTH, 16)
    assert batch["true"].mean() == 0.5


def test_true_statements_look_at_something_and_false_ones_at_nothing(batch: dict[str, Any]) -> None:
    looks = batch["share"][:, :, 0]
    np.testing.assert_array_equal(looks, batch["true"])
    np.testing.assert_array_equal(batch["places"][:, :, 0].any(-1), batch["true"] == 1)
    # Nothing is asked of padding, nor of the prefix.
    assert not batch["weight"][batch["ids"] == 0].any()
    assert not batch["weight"][:, :, 1:4].any()
    assert ((batch["weight"] == 1).sum(-1) >= 1).all()


def test_statements_are_what_they_claim() -> None:
    rng = np.random.default_rng(0)
    texts = {}
    for _ in range(300):
        statement = true_statement(rng, THINGS)
        texts[statement.text] = statement.meant
        assert statement.meant
        assert not false_statement(rng, THINGS).meant
    assert texts["the car"] == (0, 1)
    assert texts["the red car"] == texts["the red object"] == (0,)
    assert texts["the leftmost car"] == (0,)
    assert texts["palm tree"] == (3,)


def test_false_statements_are_false() -> None:
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(300):
        statement = false_statement(rng, THINGS)
        here = [thing for thing in THINGS if thing.name == statement.name]
        assert statement.name in statement.text
        assert statement.name != "tree"
        if here:
            # It is there, in colours that nobody would call so: red and orange are often mixed up.
            assert statement.colour not in {thing.colour for thing in here}
            assert (statement.name, statement.colour) != ("car", "orange")
        kinds.add((bool(here), bool(statement.colour)))
    assert kinds == {(True, True), (False, True), (False, False)}


def test_words_look_where_they_ought_to(scenes: ItmScenes) -> None:
    red_car = scenes.row(Statement("the red car", "car", "red", (0,)), THINGS, OWNED)
    assert red_car is not None
    # [CLS] there is a the red car
    np.testing.assert_allclose(red_car["share"][:8], [1, 0, 0, 0, 0, 0.5, 1, 0])
    np.testing.assert_array_equal(red_car["places"][[0, 5, 6]], OWNED[[0, 0, 0]])
    trees = scenes.row(Statement("palm tree on the right", "palm tree", None, (3,)), THINGS, OWNED)
    assert trees is not None
    np.testing.assert_array_equal(np.flatnonzero(trees["weight"] == 1), [4, 5])
    green_egg = scenes.row(Statement("the green egg", "egg", "green", ()), THINGS, OWNED)
    assert green_egg is not None
    assert not green_egg["share"][[0, 6]].any()
    # The colour is there, on something else.
    np.testing.assert_array_equal(green_egg["places"][5], OWNED[3])
    assert scenes.row(Statement("the egg " + "on " * 12, "egg", None, (2,)), THINGS, OWNED) is None


def test_attention_loss_by_hand() -> None:
    attention = torch.tensor([0.2, 0.5, 0.3]).expand(1, 2, 3, 3)
    places = torch.tensor([[[True, False], [True, True], [False, False]]])
    share, weight = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[1.0, 0.5, 0.0]])
    wanted = (-math.log(0.5) - 0.5 * (0.5 * math.log(0.8) + 0.5 * math.log(0.2))) / 1.5
    assert float(attention_loss(attention, places, share, weight)) == pytest.approx(wanted)
    nothing = torch.zeros(1, 3)
    assert float(attention_loss(attention, places, share, nothing)) == 0


@pytest.mark.parametrize(
    ("gradient", "wanted"),
    [
        # Attention .5 on the right place and .3 on the wrong one.
        ([-9, 2, -1], 0),
        ([9, 2, 2], 1 - 1 / 1.6),
        ([0, -2, -2], 2),
        ([0, -1, 1], 1 + 0.5 / 0.8),
    ],
)
def test_gradient_loss_by_hand(gradient: list[float], wanted: float) -> None:
    attention = torch.tensor([0.2, 0.5, 0.3]).expand(1, 2, 2, 3)
    slopes = torch.tensor([gradient, [0, -5, 5]], dtype=torch.float32).expand(1, 2, 2, 3)
    places = torch.tensor([[[True, False], [True, False]]])
    found = gradient_loss(Glance(torch.zeros(1, 2), attention, slopes), places, torch.tensor([[1.0, 0.0]]))
    assert float(found) == pytest.approx(wanted)


def test_a_glance_in_training_is_the_one_that_users_get() -> None:
    objective = ItmObjective(0)
    scenes = ItmScenes(0, 9, 2, 128, 8)[0]
    glance, _ = objective.module({key: torch.as_tensor(value) for key, value in scenes.items()})
    albef = objective.module.albef
    ids = torch.as_tensor(scenes["ids"]).flatten(0, 1)[:, : glance.attention.shape[2]]
    tokens = albef.encode_image(normalise(torch.as_tensor(scenes["pixels"])))
    for row in (0, 7):
        text = ids[row : row + 1, : int((ids[row] != 0).sum())]
        image = albef.image_keys_values(tokens[row // STATEMENTS : row // STATEMENTS + 1])
        wanted = albef.glance(albef.encode_text(text), image, albef.config.heat_layer)
        torch.testing.assert_close(glance.logits[row : row + 1], wanted.logits)
        length = text.shape[1]
        torch.testing.assert_close(glance.attention[row : row + 1, :, :length], wanted.attention)
        torch.testing.assert_close(glance.gradient[row : row + 1, :, :length], wanted.gradient)


def test_the_picture_tower_sees_as_mini_clip_does() -> None:
    clip = CLIPModel.from_pretrained(MINIS / "mini-clip", dtype=torch.float32).eval()
    albef = Albef(mini_config(clip))
    copy_vision(clip, albef)
    pixels = normalise(torch.as_tensor(ItmScenes(0, 9, 8, 128, 8)[0]["pixels"]))
    with torch.no_grad():
        wanted = clip.vision_model.post_layernorm(clip.vision_model(pixels).last_hidden_state)
        found = albef.encode_image(pixels)
    assert F.cosine_similarity(found, wanted, dim=-1).mean() > 0.98


def test_place_labels_follow_the_masks(batch: dict[str, Any]) -> None:
    labelled = batch["place_names"] != NO_LABEL
    assert labelled.any()
    # Whoever means a patch finds it labelled.
    assert labelled[batch["places"].any((1, 2))].all()

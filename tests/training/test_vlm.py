"""What mini-vlm is taught, and that it is taught just that."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlavaConfig, ViTConfig
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from fovea.backbones.matching_loading import load_matching
from fovea.backbones.sources import MINIS
from fovea.networks.pixels import CLIP_MEAN, CLIP_STD
from fovea.scenes.scene import compose
from fovea.training.clip_loss import normalise
from fovea.training.clip_scenes import NO_LABEL
from fovea.training.saying_vocabulary import IMAGE_TOKEN, OTHER_WORDS, build_saying_tokenizer
from fovea.training.settings import TrainSettings
from fovea.training.vlm_numbers import KINDS, STEPS, NumberCode, draw_numbers, ends_of
from fovea.training.vlm_objective import VlmObjective, look_loss, sentence_mask
from fovea.training.vlm_scenes import NAMES, Seen, VlmScenes, say
from fovea.training.vlm_start import look_at_scenes, named_directions, start_heads, start_projector

THINGS = [Seen("dog", "red", (8, 2, 0, 1)), Seen("alarm clock", None)]


@pytest.mark.parametrize(
    "text",
    [
        " dog numbered [3,12,5,16].",
        " t-shirt shown again [5,7,0,8].",
        " is there an egg in the image? yes.",
        " at 3, 10",
    ],
)
def test_decoded_text_is_what_was_encoded(text: str) -> None:
    tokenizer = build_saying_tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_every_digit_is_a_token_and_the_picture_is_one() -> None:
    tokenizer = build_saying_tokenizer()
    ids = tokenizer(f"{IMAGE_TOKEN}In the image is a dog")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[:2] == [IMAGE_TOKEN, "▁in"]
    assert tokenizer.convert_ids_to_tokens(tokenizer(" [16,0]")["input_ids"]) == ["▁[", "1", "6", ",", "0", "]"]
    for name in NAMES:
        assert tokenizer.unk_token_id not in tokenizer(f" {name}")["input_ids"]


def said(kind: str) -> set[str]:
    rng = np.random.default_rng(0)
    drawn = [say(rng, kind, THINGS, "green") for _ in range(40)]
    return {one.given + one.learnt for one in drawn if one}


def test_sentences_say_what_is_so() -> None:
    assert said("colour") == {"In the image is a dog coloured red."}
    assert said("ground") == {
        "In the image is a dog and a green wall.",
        "In the image is an alarm clock and a green wall.",
    }
    assert said("count") == {"The number of things in the image is 2."}
    there = said("there")
    assert {text for text in there if text.endswith("yes.")} == {
        "Is there a dog in the image? yes.",
        "Is there an alarm clock in the image? yes.",
    }
    assert len({text for text in there if text.endswith("no.")}) > 5


def test_numbers_are_told_in_any_words_where_there_are_some() -> None:
    for text in said("numbers"):
        found = re.fullmatch(r"In the image is (?:a dog|an alarm clock) ([a-z ]+?) (\[8,2,0,1\])?\.", text)
        assert found is not None
        assert bool(found[2]) == ("dog" in text)
        assert set(found[1].split()) <= set(OTHER_WORDS)


def test_the_words_of_the_question_for_boxes_are_not_taught() -> None:
    data = VlmScenes(seed=1, steps=2, batch_size=16, size=64, grid=4)
    asked = {data.tokenizer.convert_tokens_to_ids(f"▁{word}") for word in ("located", "at")}
    assert data.tokenizer.unk_token_id not in asked
    assert not asked & set(data[0]["ids"].ravel().tolist())


def test_numbers_of_a_thing_have_its_own_ends() -> None:
    owners = np.array([0, 0, 0, -1, 1, 1, 1, 1])
    rng = np.random.default_rng(0)
    spans = []
    for _ in range(50):
        numbers = draw_numbers(rng, owners)
        assert numbers.shape == (8, KINDS)
        assert 0 <= numbers.min() <= numbers.max() <= STEPS
        spans.append(np.ptp(numbers[owners == 1], axis=0))
        ends, where = ends_of(numbers, owners == 1)
        for kind, (end, places) in enumerate(zip(ends, where, strict=True)):
            own = [int(numbers[place, kind]) for place in range(4, 8)]
            assert end == (min if kind < KINDS // 2 else max)(own)
            assert places.tolist() == [place >= 4 and numbers[place, kind] == end for place in range(8)]
    # Four numbers drawn from all of 0..8 would span five to six on average.
    assert np.mean(spans) < 3


def test_numbers_say_nothing_of_places() -> None:
    rng = np.random.default_rng(0)
    owners = np.array([0] * 6 + [-1] * 10)
    means = np.mean([draw_numbers(rng, owners) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(means, STEPS / 2, atol=0.25)


def test_codes_of_all_kinds_add_up() -> None:
    code = NumberCode(12)
    numbers = torch.randint(0, STEPS + 1, (3, 5, KINDS))
    numbers[1] = -1
    found = code(numbers)
    for picture in (0, 2):
        for place in range(5):
            wanted = sum(code.codes[kind, numbers[picture, place, kind]] for kind in range(KINDS))
            torch.testing.assert_close(found[picture, place], wanted)
    assert not found[1].any()


def sentences(batch: dict[str, Any], *keys: str) -> Iterator[tuple[np.ndarray, ...]]:
    """What a batch holds of every sentence."""
    return zip(*(batch[key].reshape(-1, *batch[key].shape[2:]) for key in keys), strict=True)


def test_numbers_that_are_told_lie_on_the_thing_and_are_read_there() -> None:
    data, told = VlmScenes(seed=4, steps=2, batch_size=8, size=64, grid=4), 0
    batch = data[0]
    batch["on"] = np.repeat(batch["numbers"][:, None], batch["ids"].shape[1], axis=1)
    for ids, places, reads, numbers in sentences(batch, "ids", "places", "reads", "on"):
        found = re.search(r"\[(\d),(\d),(\d),(\d)\]", data.tokenizer.decode(ids))
        if found is None:
            assert (reads == places).all()
            continue
        told += 1
        here = places[0]
        tokens = data.tokenizer.convert_ids_to_tokens(ids.tolist())
        first = tokens.index("▁[")
        for kind, digit in enumerate(map(int, found.groups())):
            least = kind < KINDS // 2
            assert digit == (min if least else max)(numbers[here, kind])
            # In front of the digit, which is two tokens behind the one before.
            assert (reads[first + 2 * kind] == (here & (numbers[:, kind] == digit))).all()
    assert told > 10


def test_batches_agree_with_their_sentences() -> None:
    data = VlmScenes(seed=3, steps=5, batch_size=4, size=64, grid=4)
    first, again = data[2], data[2]
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    tokenizer = data.tokenizer
    for ids, learnt in sentences(first, "ids", "learnt"):
        rest = tokenizer.decode(ids[learnt])
        given = tokenizer.decode(ids[~learnt & (ids > 0)])
        if given.split()[-1] in OTHER_WORDS:
            assert re.fullmatch(r" (\[\d,\d,\d,\d\])?\.<end>", rest)
        else:
            assert rest.endswith(".<end>")
            assert given.endswith((" a", " an", " is", "?"))
    labels = set(first["place_names"].ravel().tolist())
    assert NO_LABEL in labels
    assert labels <= {NO_LABEL, *range(len(NAMES))}


def test_sentences_see_the_picture_and_themselves() -> None:
    mask = sentence_mask(2, 2, 3)[0, 0]
    slow = torch.zeros(8, 8, dtype=torch.bool)
    for row in range(8):
        for column in range(row + 1):
            slow[row, column] = column < 2 or (row - 2) // 3 == (column - 2) // 3
    torch.testing.assert_close(mask, slow)


@pytest.fixture(scope="module")
def objective() -> VlmObjective:
    return VlmObjective(0)


def batch(objective: VlmObjective, size: int = 2) -> dict[str, Any]:
    data: Any = objective.batches(TrainSettings(steps=1, batch_size=size, lr=1e-3))
    return {key: torch.as_tensor(value) for key, value in data[0].items()}


def test_sentences_side_by_side_are_sentences_alone(objective: VlmObjective) -> None:
    """Packed behind one picture, or asked of the model of transformers one at a time."""
    some = batch(objective, 1)
    # What lies on places is added in training alone.
    some["numbers"][:] = -1
    llava = objective.module.llava.eval()
    with torch.no_grad():
        packed = objective.module(some, objective.names)[0]
        planes = (some["pixels"].float() / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
        for index in range(2):
            ids = some["ids"][:, index]
            picture = torch.full((1, 64), llava.config.image_token_id)
            alone = llava(input_ids=torch.cat([picture, ids], 1), pixel_values=planes.permute(0, 3, 1, 2)).logits[
                :, 64:
            ]
            torch.testing.assert_close(packed[:, index], alone, atol=2e-5, rtol=1e-4)


def test_only_what_is_to_be_learnt_counts(objective: VlmObjective) -> None:
    some = batch(objective)
    with torch.no_grad():
        full = objective.loss(objective.module, some)[1]["say"]
        said, _, _ = objective.module(some, objective.names)
    total, count = 0.0, 0
    for row, (ids, learnt) in enumerate(zip(some["ids"].flatten(0, 1), some["learnt"].flatten(0, 1), strict=True)):
        scores = said.flatten(0, 1)[row].log_softmax(-1)
        for place in range(1, len(ids)):
            if learnt[place]:
                total -= float(scores[place - 1, ids[place]])
                count += 1
    assert full == pytest.approx(total / count, rel=1e-4)


def test_sentences_look_where_their_thing_is() -> None:
    data = VlmScenes(seed=5, steps=2, batch_size=6, size=64, grid=4)
    batch, told = data[0], 0
    for row in range(6):
        labels = batch["place_names"][row]
        for ids, looking, places in zip(*(batch[key][row] for key in ("ids", "looking", "places")), strict=True):
            assert looking.any() == places.any()
            if not looking.any():
                continue
            told += 1
            assert (places == places[0]).all()
            # Up to its first token that looks, a sentence ends in the name of what stands there, and nowhere else.
            begun = data.tokenizer.decode(ids[: looking.argmax() + 1])
            (name,) = {NAMES[label] for label in labels[places[0]]}
            assert begun.endswith(f" {name}")
            assert (labels == NAMES.index(name)).sum() == places[0].sum()
            assert looking[looking.argmax() : (ids > 0).sum()].all()
            assert not looking[(ids > 0).sum() :].any()
    assert told > 12


def test_looks_are_measured_where_they_ought_to_lie() -> None:
    attention = torch.rand(2, 3, 2 * 4, 5).softmax(-1) * 0.8
    looking = torch.rand(2, 2, 4) < 0.5
    places = torch.rand(2, 2, 4, 5) < 0.5
    total, count = 0.0, 0
    for picture in range(2):
        for sentence in range(2):
            for token in range(4):
                if looking[picture, sentence, token]:
                    inside = attention[picture, :, 4 * sentence + token, places[picture, sentence, token]].sum(-1)
                    total -= float(inside.clamp(min=1e-6).log().mean())
                    count += 1
    assert float(look_loss(attention, looking, places)) == pytest.approx(total / count, rel=1e-5)
    assert float(look_loss(attention, torch.zeros_like(looking), places)) == 0


def test_the_tower_is_that_of_mini_itm(objective: VlmObjective) -> None:
    """It says of every place what mini-itm's own says, which norms it in the end."""
    pixels = torch.as_tensor(compose(1_000_000, size=128).pixels)[None]
    with torch.no_grad():
        wanted = load_matching(str(MINIS / "mini-itm"))._network.encode_image(normalise(pixels))[:, 1:]
        found = objective.module.llava.model.vision_tower.layernorm(objective.module.see(pixels))
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-3)


def test_places_start_at_what_they_show() -> None:
    """Tokens that are names mixed by a matrix: the least-squares map has to unmix them."""
    torch.manual_seed(0)
    names = torch.nn.functional.normalize(torch.randn(20, 32), dim=-1)
    labels = torch.randint(20, (4000,))
    tokens = torch.randn(20, 32)[labels] * 5 + torch.randn(4000, 32) + 3
    projector = LlavaMultiModalProjector(
        LlavaConfig(
            vision_config=ViTConfig(hidden_size=32),
            text_config=LlamaConfig(hidden_size=32, num_attention_heads=2),
            projector_hidden_act="linear",
        )
    )
    start_projector(projector, tokens, labels, names)
    with torch.no_grad():
        found = (projector(tokens) @ names.T).argmax(1)
        lengths = projector(tokens).norm(dim=1)
    assert (found == labels).float().mean() > 0.95
    assert float(lengths.mean()) == pytest.approx(1, abs=0.01)


def test_heads_start_by_looking_for_their_like(objective: VlmObjective) -> None:
    layers = copy.deepcopy(objective.module.llava.model.language_model.layers)
    start_heads(layers)
    for layer in layers:
        attention = layer.self_attn
        torch.testing.assert_close(attention.q_proj.weight, attention.k_proj.weight)
        tokens = torch.nn.functional.rms_norm(torch.randn(200, 256), (256,))
        with torch.no_grad():
            heads = attention.q_proj(tokens).unflatten(1, (-1, attention.head_dim))
            own = (heads**2).sum(-1).mean() / attention.head_dim**0.5
            other = (heads[:-1] * heads[1:]).sum(-1).mean() / attention.head_dim**0.5
        assert 1.5 < float(own) < 4
        assert abs(float(other)) < 0.5


def test_names_lie_at_the_sum_of_their_words() -> None:
    table = torch.eye(4)
    found = named_directions(table, torch.tensor([[2, -1], [0, 3]]))
    torch.testing.assert_close(found, torch.tensor([[0, 0, 1, 0], [0.5**0.5, 0, 0, 0.5**0.5]]))


def test_scenes_are_looked_at_where_things_are() -> None:
    data = VlmScenes(seed=3, steps=5, batch_size=2, size=64, grid=4)
    tokens, labels = look_at_scenes(lambda pixels: pixels.float().mean((1, 2))[:, None].expand(-1, 16, -1), data, 2)
    wanted = np.concatenate([data[number]["place_names"].ravel() for number in range(2)])
    np.testing.assert_array_equal(labels, wanted[wanted != NO_LABEL])
    assert tokens.shape == (len(labels), 3)


def test_measurements_count_what_is_right(objective: VlmObjective, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that knows the next token of every second picture, and the name of every place of the others."""
    monkeypatch.setattr("fovea.training.vlm_objective._MEASURED", 1)

    class Knowing(torch.nn.Module):
        def forward(self, batch: dict[str, torch.Tensor], names: torch.Tensor) -> tuple[torch.Tensor, ...]:
            knows = torch.arange(len(batch["ids"])) % 2 == 0
            following = torch.nn.functional.pad(batch["ids"][..., 1:], (0, 1))
            said = torch.nn.functional.one_hot(following * knows[:, None, None], len(objective.tokenizer))
            labels = torch.where(knows[:, None], len(NAMES), batch["place_names"]).clamp(min=0)
            return said.float(), torch.nn.functional.one_hot(labels, len(NAMES) + 1).float(), torch.zeros(2)

    found = objective.evaluate(Knowing())
    assert list(found) == ["digits", "tokens", "places"]
    assert all(0.2 < share < 0.8 for share in found.values())

    class AllKnowing(Knowing):
        def forward(self, batch: dict[str, torch.Tensor], names: torch.Tensor) -> tuple[torch.Tensor, ...]:
            doubled = {key: value.repeat_interleave(2, 0) for key, value in batch.items()}
            said, _, looks = super().forward(doubled, names)
            return said[::2], super().forward(doubled, names)[1][1::2], looks

    assert objective.evaluate(AllKnowing()) == {"digits": 1, "tokens": 1, "places": 1}


def test_what_is_written_can_be_read(objective: VlmObjective, tmp_path: Path) -> None:
    objective.export(objective.module.state_dict(), tmp_path)
    other = VlmObjective(1)
    other.start_from(tmp_path)
    theirs = other.module.llava.state_dict()
    for key, value in objective.module.llava.state_dict().items():
        torch.testing.assert_close(theirs[key], value.half().float())
    assert {"config.json", "model.safetensors", "tokenizer.json", "fovea.json"} <= {p.name for p in tmp_path.iterdir()}

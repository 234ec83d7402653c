"""The training of RegionSpot's head on tokens from disk."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

pytest.importorskip("accelerate")

from fovea.datasets.region_tokens import PictureTokens, TokenShards, encode_shard, shard_path, write_index
from fovea.errors import CheckpointError, DataError
from fovea.networks.region_spot import Context, RegionSpotConfig, RegionSpotHead
from fovea.training import loop
from fovea.training.focal_loss import region_loss
from fovea.training.loop import train
from fovea.training.optimizers import cosine_share, learning_share
from fovea.training.recipes import TRAININGS
from fovea.training.region_spot_objective import RegionSpotObjective
from fovea.training.region_spot_settings import HeadSettings
from fovea.training.region_token_batches import RegionTokenBatches, collate, split_pictures

WIDTH, TEXT, TOKEN = 16, 12, 6
SIZE = np.array([8, 8], np.float32)
SETTINGS = HeadSettings(
    steps=60,
    batch_size=8,
    lr=1e-2,
    warmup=3,
    hidden=24,
    depth=1,
    heads=2,
    held_out=5,
    evaluate_every=20,
    log_every=20,
    workers=0,
)


def write_set(directory: Path, names: Sequence[str], count: int, seed: int, models: str = "a") -> TokenShards:
    """Pictures whose tokens say what their regions are."""
    rng, directions = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(9, TOKEN))
    pictures = []
    for id_ in range(count):
        labels = rng.integers(0, len(names), rng.integers(1, 5))
        tokens = directions[labels] + 0.1 * rng.normal(size=(len(labels), TOKEN))
        places = rng.normal(size=(5, WIDTH))
        boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (len(labels), 1))
        pictures.append(PictureTokens(id_, tokens.astype(np.float32), boxes, labels, SIZE, places.astype(np.float16)))
    directory.mkdir(parents=True)
    shard_path(directory, 0).write_bytes(encode_shard(pictures, [{"id": i, "status": "ok"} for i in range(count)]))
    about = {"vocabulary": list(names), "models": models, "clip weights": models, "sam weights": "s", "clip_size": 32}
    (directory / "about.json").write_text(json.dumps(about))
    write_index(directory, range(1))
    return TokenShards(directory)


def texts(names: Sequence[str]) -> Tensor:
    """Directions that names alone decide."""
    rows = [torch.randn(TEXT, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in names]
    return F.normalize(torch.stack(rows), dim=-1)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[TokenShards]:
    path = tmp_path_factory.mktemp("sets")
    return [write_set(path / "a", "abcdef", 60, 1), write_set(path / "b", "fgh", 200, 2)]


def batches(sets: list[TokenShards], **changes: int) -> RegionTokenBatches:
    pictures = [split_pictures(len(one), 5)[0] for one in sets]
    return RegionTokenBatches(sets, pictures, **{"steps": 400, "batch_size": 4, "seed": 3, **changes})


def test_batches_depend_on_their_number_alone(sets: list[TokenShards]) -> None:
    one, other = batches(sets), pickle.loads(pickle.dumps(batches(sets)))
    for number in (7, 3):
        first, second = one[number], other[number]
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    assert not np.array_equal(one[3]["places"], batches(sets, seed=4)[3]["places"])


def test_data_sets_come_equally_often_whatever_their_sizes(sets: list[TokenShards]) -> None:
    data = batches(sets)
    counts = Counter(int(data[number]["vocabulary"]) for number in range(400))
    assert 160 < counts[0] < 240
    for number in range(20):
        batch = data[number]
        classes = len(sets[int(batch["vocabulary"])].vocabulary)
        assert batch["labels"].max() < classes
        assert not batch["tokens"][batch["padding"]].any()


def test_what_is_held_out_is_never_learnt() -> None:
    learnt, held = split_pictures(1000, 50)
    assert len(held) == 50
    assert sorted([*learnt, *held]) == list(range(1000))
    assert len(split_pictures(60, 50)[1]) == 6
    assert len(split_pictures(5, 50)[1]) == 0


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop without its picture, which takes longer than all steps."""
    monkeypatch.setattr(loop._Log, "picture", lambda self: None)


@pytest.mark.usefixtures("undrawn")
def test_it_learns_and_keeps_the_best(sets: list[TokenShards], tmp_path: Path) -> None:
    objective = RegionSpotObjective(SETTINGS, sets, texts, 10.0)
    before = objective.evaluate(objective.module.eval())
    train(objective, SETTINGS, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["top1"] > before["top1"] + 0.3
    best = max(rows, key=lambda row: row["ap"])
    # The kept model has the measured value.
    kept = RegionSpotObjective(SETTINGS, sets, texts, 10.0)
    kept.start_from(tmp_path / "best")
    assert kept.evaluate(kept.module.eval())["ap"] == pytest.approx(best["ap"], abs=1e-4)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == "region-spot"
    assert config["names"] == list("abcdefgh")
    assert config["clip_size"] == 32
    head = RegionSpotHead(RegionSpotConfig(**config["head"]))
    head.load_state_dict(load_file(tmp_path / "model" / "model.safetensors"))


@pytest.mark.usefixtures("undrawn")
def test_a_run_goes_on_where_it_was_killed(sets: list[TokenShards], tmp_path: Path) -> None:
    # Dropout is random; everything else has to be the same.
    settings = replace(SETTINGS, steps=9, evaluate_every=3, dropout=0.0, checkpoint_minutes=0.0)
    train(RegionSpotObjective(settings, sets, texts, 10.0), settings, tmp_path / "whole")

    class Killed(RegionSpotObjective):
        def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
            self.times = getattr(self, "times", 0) + 1
            if self.times == 2:
                raise KeyboardInterrupt
            return super().evaluate(module)

    with pytest.raises(KeyboardInterrupt):
        train(Killed(settings, sets, texts, 10.0), settings, tmp_path / "killed")
    train(RegionSpotObjective(settings, sets, texts, 10.0), settings, tmp_path / "killed")
    for name in ("model", "best"):
        first, second = (load_file(tmp_path / run / name / "model.safetensors") for run in ("whole", "killed"))
        for key, value in first.items():
            torch.testing.assert_close(second[key], value)
    measured = [(tmp_path / run / "evaluations.jsonl").read_text() for run in ("whole", "killed")]
    assert measured[0] == measured[1]
    # A head of other models would be written under their names.
    other = RegionSpotObjective(settings, sets, texts, 10.0)
    other.about = {**other.about, "clip weights": "another"}
    with pytest.raises(CheckpointError, match="belongs to other frozen models"):
        train(other, settings, tmp_path / "killed")


def test_the_released_reduction_repeats_regions(sets: list[TokenShards]) -> None:
    settings = replace(SETTINGS, reduction="upstream", dropout=0.0)
    objective = RegionSpotObjective(settings, sets, texts, 10.0)
    batch = {key: torch.as_tensor(value) for key, value in objective.batches(settings)[0].items()}
    assert not batch["padding"].any()
    loss, _ = objective.loss(objective.module, batch)
    vectors = objective.module(batch["tokens"], batch["places"].float())
    logits = 10 * vectors @ texts(sets[int(batch["vocabulary"])].vocabulary).t()
    torch.testing.assert_close(loss, region_loss(logits, batch["labels"], reduction="upstream"))


def test_padding_changes_neither_loss_nor_gradient(sets: list[TokenShards]) -> None:
    objective = RegionSpotObjective(replace(SETTINGS, dropout=0.0), sets[:1], texts, 10.0)
    pictures = [sets[0][number] for number in range(6)]
    each = []
    for group in (pictures, *([one] for one in pictures)):
        batch = {key: torch.as_tensor(value) for key, value in collate(group).items()}
        each.append(objective.loss(objective.module, {**batch, "vocabulary": torch.tensor(0)})[0])
    torch.testing.assert_close(each[0], torch.stack(each[1:]).mean())


def test_names_can_share_a_region(sets: list[TokenShards]) -> None:
    objective = RegionSpotObjective(replace(SETTINGS, dropout=0.0, loss="softmax"), sets[:1], texts, 10.0)
    picture = sets[0][3]
    batch = {key: torch.as_tensor(value) for key, value in collate([picture, sets[0][4]]).items()}
    loss, _ = objective.loss(objective.module, {**batch, "vocabulary": torch.tensor(0)})
    shares = []
    for one in (picture, sets[0][4]):
        vectors = objective.module(torch.tensor(one.tokens)[None], torch.tensor(one.places)[None].float())[0]
        logits = 10 * vectors @ texts(sets[0].vocabulary).t()
        shares += [row.softmax(-1)[label].log() for row, label in zip(logits, one.labels, strict=True)]
    torch.testing.assert_close(loss, -torch.stack(shares).mean())


@pytest.mark.parametrize("context", ["set", "single"])
def test_regions_look_at_each_other_as_the_settings_say(sets: list[TokenShards], context: Context) -> None:
    objective = RegionSpotObjective(replace(SETTINGS, dropout=0.0, context=context), sets[:1], texts, 10.0)
    picture = max((sets[0][number] for number in range(9)), key=lambda one: len(one.labels))
    places = torch.tensor(picture.places)[None].float()
    rows = [objective.module(torch.tensor(token)[None, None], places)[0] for token in picture.tokens]
    alone = region_loss(10 * torch.cat(rows)[None] @ texts("abcdef").t(), torch.tensor(picture.labels)[None])
    batch = {key: torch.as_tensor(value) for key, value in collate([picture, sets[0][4]]).items()}
    batch = {key: value[:1] for key, value in batch.items()} | {"vocabulary": torch.tensor(0)}
    loss = objective.loss(objective.module, batch)[0]
    assert torch.isclose(loss, alone, rtol=1e-4) == (context == "single")


def test_a_head_can_do_without_parts_of_what_clip_sees(sets: list[TokenShards]) -> None:
    objective = RegionSpotObjective(replace(SETTINGS, class_token=False, places=False), sets[:1], texts, 10.0)
    assert (objective.module.config.class_token, objective.module.config.places) == (False, False)
    assert objective.config == objective.module.config


def test_a_head_of_other_tokens_is_no_start(sets: list[TokenShards], tmp_path: Path) -> None:
    objective = RegionSpotObjective(SETTINGS, sets, texts, 10.0)
    objective.token_kind = "prompt"
    objective.export(objective.module.state_dict(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["token_kind"] == "prompt"
    objective.start_from(tmp_path)
    with pytest.raises(CheckpointError, match="tokens of kind prompt"):
        RegionSpotObjective(SETTINGS, sets, texts, 10.0).start_from(tmp_path)


def test_a_start_from_places_needs_positions(sets: list[TokenShards]) -> None:
    readout = torch.zeros(TEXT, WIDTH), torch.zeros(TEXT)
    with pytest.raises(DataError, match="needs positions"):
        RegionSpotObjective(replace(SETTINGS, start="places"), sets[:1], texts, 10.0, readout)
    with pytest.raises(ValueError, match="readout"):
        RegionSpotObjective(replace(SETTINGS, start="places"), sets[:1], texts, 10.0)


def test_weights_are_all_decayed_by_one_adamw(sets: list[TokenShards]) -> None:
    objective = RegionSpotObjective(SETTINGS, sets, texts, 10.0)
    (optimizer,) = objective.optimizers(SETTINGS)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == len(list(objective.module.parameters()))
    assert (group["weight_decay"], group["betas"]) == (1e-4, (0.9, 0.999))


def test_the_released_schedule() -> None:
    settings = TRAININGS["region-spot"].settings
    share = [
        learning_share(step, settings.steps, settings.warmup, settings.milestones)
        for step in (0, 999, 349_999, 350_000, 419_999, 420_000)
    ]
    assert share == pytest.approx([0.001, 1, 1, 0.1, 0.1, 0.01])
    assert (settings.lr, settings.weight_decay, settings.clip_norm) == (2.5e-5, 1e-4, 1.0)
    assert learning_share(40, 100, 10) == cosine_share(40, 100, 10)


def test_data_of_different_models_do_not_mix(sets: list[TokenShards], tmp_path: Path) -> None:
    other = write_set(tmp_path / "other", "ab", 20, 1, models="b")
    with pytest.raises(DataError, match="different clip weights"):
        RegionSpotObjective(SETTINGS, [*sets, other], texts, 10.0)
    tokens = write_set(tmp_path / "mini", "ab", 20, 1, models="mini-vit").directory
    with pytest.raises(CheckpointError, match="other weights"):
        TRAININGS["region-spot"].build(SETTINGS, tokens)
    with pytest.raises(DataError, match="--data"):
        TRAININGS["region-spot"].run(tmp_path / "run")


@pytest.mark.parametrize(
    "change",
    [
        {"reduction": "sum"},
        {"start": "middle"},
        {"loss": "hinge"},
        {"templates": ["no place"]},
        {"milestones": [2]},
        {"depth": 0},
        {"context": "pair"},
        {"places": "yes"},
    ],
)
def test_settings_without_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change)).rstrip("s")):
        replace(SETTINGS, **change)

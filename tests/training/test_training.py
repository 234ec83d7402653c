"""The loop on a toy objective, and the first steps of the real ones."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

pytest.importorskip("accelerate")

from fovea.errors import DataError, ExpressionError, FoveaError
from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.layout import Layout, Placement
from fovea.training import clip_scenes, loop
from fovea.training.clip_loss import TowerOutput, clip_loss
from fovea.training.clip_resnet_objective import ClipResnetObjective
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL, ClipScenes
from fovea.training.clip_vit_objective import ClipVitObjective
from fovea.training.itm_objective import ItmObjective
from fovea.training.loop import train
from fovea.training.optimizers import WeightGroup, average, build_optimizers, cosine_share, orthogonalise
from fovea.training.recipes import TRAININGS, resolve_training
from fovea.training.sam_objective import SamObjective
from fovea.training.sam_scenes import NOWHERE, SamScenes
from fovea.training.settings import TrainSettings


class Line(Dataset[dict[str, Any]]):
    """Points of y = 3 x + 1."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, step: int) -> dict[str, Any]:
        x = np.random.default_rng(step).normal(size=(16, 1)).astype(np.float32)
        return {"x": x, "y": 3 * x + 1}


class LineObjective:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.groups: list[WeightGroup] = []
        self.exported: dict[str, Tensor] = {}

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        return Line()

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return nn.functional.mse_loss(module(batch["x"]), batch["y"]), {}

    def start_from(self, directory: Path) -> None:
        raise AssertionError

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        self.exported = {key: value.clone() for key, value in state.items()}
        torch.save(state, directory / "weights.pt")


SETTINGS = TrainSettings(steps=120, batch_size=16, lr=0.1, warmup=5, log_every=10, workers=0, average_decay=0.9)


def test_the_loop_learns_logs_and_exports(tmp_path: Path) -> None:
    objective = LineObjective()
    train(objective, SETTINGS, tmp_path)
    assert objective.exported["weight"].item() == pytest.approx(3, abs=0.15)
    assert objective.exported["bias"].item() == pytest.approx(1, abs=0.15)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(10, 121, 10))
    assert rows[-1]["loss"] < 0.01 * rows[0]["loss"]
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawing a picture at every step would be all that this test does.
    monkeypatch.setattr(loop._Log, "picture", lambda self: None)
    unbroken = LineObjective()
    train(unbroken, SETTINGS, tmp_path / "a")

    class Killed(LineObjective):
        steps = 0

        def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
            self.steps += 1
            if self.steps == 57:
                raise KeyboardInterrupt
            return super().loss(module, batch)

    often = TrainSettings(**{**SETTINGS.__dict__, "checkpoint_minutes": 0.0})
    with pytest.raises(KeyboardInterrupt):
        train(Killed(), often, tmp_path / "b")
    resumed = LineObjective()
    train(resumed, often, tmp_path / "b")
    for key, value in unbroken.exported.items():
        torch.testing.assert_close(resumed.exported[key], value)
    assert not list((tmp_path / "b").glob("*.tmp"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(10, 121, 10))


def test_the_log_says_how_long_batches_were_waited_for(tmp_path: Path) -> None:
    class Slow(Line):
        def __getitem__(self, step: int) -> dict[str, Any]:
            # A step takes a millisecond, but for the first ones.
            time.sleep(0.05 if step >= 10 else 0)
            return super().__getitem__(step)

    class SlowObjective(LineObjective):
        def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
            return Slow()

    train(SlowObjective(), replace(SETTINGS, steps=20), tmp_path)
    quick, slow = [json.loads(line)["waited"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert quick < slow <= 1
    assert slow > 0.5


class KilledAtExport(LineObjective):
    """Dies half-way through writing the model."""

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        (directory / "weights.pt").write_bytes(b"half")
        raise KeyboardInterrupt


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    train(LineObjective(), replace(SETTINGS, steps=10), tmp_path)
    return tmp_path


def steps_logged(directory: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (directory / "log.jsonl").read_text().splitlines()]


def test_a_half_written_line_of_the_log_does_not_stop_a_run(finished: Path) -> None:
    with (finished / "log.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    train(LineObjective(), replace(SETTINGS, steps=20), finished)
    assert steps_logged(finished) == [10, 20]


def test_a_run_killed_while_exporting_its_last_step_exports_when_started_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(KilledAtExport(), replace(SETTINGS, steps=10), tmp_path)
    assert not (tmp_path / "model").exists()
    train(LineObjective(), replace(SETTINGS, steps=10), tmp_path)
    assert set(torch.load(tmp_path / "model" / "weights.pt")) == {"weight", "bias"}
    assert not list(tmp_path.glob("model.*"))


def test_the_old_model_stands_until_the_new_one_is_whole(finished: Path) -> None:
    before = (finished / "model" / "weights.pt").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        train(KilledAtExport(), replace(SETTINGS, steps=20), finished)
    assert (finished / "model" / "weights.pt").read_bytes() == before


def test_a_finished_run_says_so(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fovea"):
        train(LineObjective(), replace(SETTINGS, steps=10), finished)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == ["finished at step 10"]


def test_a_resumed_run_says_which_settings_changed(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fovea"):
        train(LineObjective(), replace(SETTINGS, steps=20, lr=0.05), finished, "other lines")
    changes = "steps 10 -> 20, lr 0.1 -> 0.05, data scenes -> other lines"
    assert f"settings changed since the checkpoint: {changes}" in caplog.messages


def test_a_checkpoint_without_settings_is_resumed(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved = torch.load(finished / "checkpoint.pt")
    del saved["settings"]
    torch.save(saved, finished / "checkpoint.pt")
    with caplog.at_level(logging.INFO, "fovea"):
        train(LineObjective(), replace(SETTINGS, steps=20), finished)
    assert steps_logged(finished) == [10, 20]
    assert not any("changed" in message for message in caplog.messages)


def test_a_run_goes_on_with_other_optimisers(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    objective = LineObjective()
    objective.groups = [WeightGroup([objective.module.weight], hidden=True)]
    with caplog.at_level(logging.INFO, "fovea"):
        train(objective, replace(SETTINGS, steps=20, muon_lr=0.01), finished)
    assert steps_logged(finished) == [10, 20]
    assert any("momentum starts anew" in message for message in caplog.messages)


def test_only_the_main_process_writes(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "log.jsonl").write_text("of the main process")
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    monkeypatch.setattr(loop.Accelerator, "is_main_process", False)
    for steps in (10, 20):
        train(LineObjective(), replace(SETTINGS, steps=steps), finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(finished: Path) -> None:
    class Broken(LineObjective):
        def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
            return super().loss(module, batch)[0] * float("nan"), {}

    before = (finished / "checkpoint.pt").read_bytes()
    with pytest.raises(FoveaError, match="the loss is nan at step 11; lower lr"):
        train(Broken(), replace(SETTINGS, steps=11), finished)
    assert (finished / "checkpoint.pt").read_bytes() == before


def test_muon_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((8, 32), (32, 8)):
        # Built with singular values over two orders of magnitude.
        left, right = (torch.linalg.qr(torch.randn(side, 8))[0] for side in shape)
        values = torch.linalg.svdvals(orthogonalise(left @ torch.diag(torch.logspace(-1, 1, 8)) @ right.t()))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_hidden_layers_go_to_muon_and_learn() -> None:
    torch.manual_seed(0)
    hidden = nn.Conv2d(8, 4, 3)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), hidden, nn.Flatten(1))
    groups = [WeightGroup([hidden.weight], hidden=True)]
    assert len(build_optimizers(network, groups, 1e-2)) == 1
    adamw, muon = build_optimizers(network, groups, 1e-2, 0.05)
    assert [p.shape for group in muon.param_groups for p in group["params"]] == [(4, 8, 3, 3)]
    assert sum(len(group["params"]) for group in adamw.param_groups) == len(list(network.parameters())) - 1
    pixels, wanted = torch.randn(16, 3, 5, 5), torch.randn(16, 4)
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(network(pixels), wanted)
        network.zero_grad()
        loss.backward()
        for optimizer in (adamw, muon):
            optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(("muon_lr", "first"), [(0.0, 0.001), (0.5, 0.05)])
def test_weights_learn_at_the_rate_of_their_group(muon_lr: float, first: float) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    groups = [WeightGroup([network[0].weight], 0.1, hidden=True), WeightGroup([network[1].bias], 0.5)]
    optimizers = build_optimizers(network, groups, 0.01, muon_lr, 0.3)
    parts = [part for optimizer in optimizers for part in optimizer.param_groups]
    rates = {id(p): (part["lr"], part["weight_decay"]) for part in parts for p in part["params"]}
    assert len(rates) == sum(len(part["params"]) for part in parts) == 4
    wanted = [(first, 0.3), (0.01, 0.0), (0.01, 0.3), (0.005, 0.0)]
    assert [rates[id(p)] for p in network.parameters()] == [pytest.approx(each) for each in wanted]


def test_the_schedule_holds_for_every_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = LineObjective()
    objective.groups = [WeightGroup([objective.module.weight], 0.01)]
    seen: dict[int, list[float]] = {}
    step = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW, closure: Any = None) -> Any:
        for part in optimizer.param_groups:
            seen.setdefault(id(part["params"][0]), []).append(part["lr"])
        return step(optimizer, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(objective, replace(SETTINGS, steps=12), tmp_path)
    slow, fast = (seen[id(weight)] for weight in (objective.module.weight, objective.module.bias))
    assert fast == pytest.approx([0.1 * cosine_share(step, 12, 5) for step in range(12)])
    assert slow == pytest.approx([0.01 * rate for rate in fast])


def test_schedule_and_average() -> None:
    shares = [cosine_share(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == pytest.approx(1)
    assert shares[-1] < 0.001
    module = nn.Linear(1, 1)
    shadow = {key: torch.zeros_like(value) for key, value in module.state_dict().items()}
    average(shadow, module, 0.75)
    torch.testing.assert_close(shadow["weight"], 0.25 * module.weight.detach())


def test_clip_batches_depend_on_their_number_alone() -> None:
    first, again = ClipScenes(0, 9, 6, 64, 4)[3], ClipScenes(0, 9, 6, 64, 4)[3]
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    assert not np.array_equal(first["pixels"], ClipScenes(0, 9, 6, 64, 4)[4]["pixels"])
    assert first["pixels"].shape == (6, 64, 64, 3)
    assert first["place_names"].shape == (6, 16)
    assert first["name_texts"].shape[0] == len(first["picked_names"]) <= len(NAMES) == 250
    assert first["colour_texts"].shape[0] == len(COLOURS)


def test_clip_labels_are_consistent() -> None:
    data = ClipScenes(1, 9, 48, 64, 4)
    batch = data[0]
    marked = batch["names"] != NO_LABEL
    assert 0.5 < marked.mean() < 0.95
    for row, phrase in zip(np.flatnonzero(marked), batch["phrases"][marked], strict=True):
        words = data.tokenizer.decode(phrase)
        name = NAMES[batch["names"][row]]
        assert name in words or "object" in words
        assert "<unk>" not in words


def placed(name: str, x: float, y: float, extent: float) -> Placement:
    glyph = next(glyph for glyph in glyphs_of("train") if glyph.name == name)
    return Placement(glyph, x, y, extent, angle=0.0, flipped=False, painted=None)


def test_phrases_are_true_of_the_picture() -> None:
    things = (placed("car", 0.2, 0.2, 0.4), placed("car", 0.8, 0.8, 0.2), placed("egg", 0.2, 0.8, 0.3))
    layout = Layout(things, background_seed=0)
    masks = clip_scenes.draw(layout, 64).masks
    large, small, lone = (set(clip_scenes._among_namesakes(layout, masks, index)) for index in range(3))
    assert {"the leftmost car", "the biggest car", "the first car from the top", "the car on the left"} <= large
    assert {"the rightmost car", "the small car", "the second car from the left"} <= small
    assert lone == {"the egg on the left", "the egg at the bottom", "the egg in the bottom left corner"}
    assert not large & small


def test_every_ordinal_says_where_counting_starts() -> None:
    data = ClipScenes(2, 9, 64, 32, 4)
    texts = [data.tokenizer.decode(phrase) for step in range(3) for phrase in data[step]["phrases"]]
    ordinals = [text for text in texts if "first" in text or "second" in text]
    assert ordinals
    assert all(" from the " in text for text in ordinals)


def test_a_sharp_thing_outside_of_the_window_is_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout((placed("car", 0.2, 0.2, 0.3), placed("egg", 0.8, 0.8, 0.2)), 0, focus=1, defocus=0.02)
    for window, subject in (((0.0, 0.0, 0.55), None), ((0.0, 0.0, 1.0), 1)):
        monkeypatch.setattr(clip_scenes, "_window", lambda rng, window=window: window)
        assert clip_scenes._plain(np.random.default_rng(0), layout, 64).subject == subject


def test_a_batch_without_labels_costs_nothing() -> None:
    nothing = torch.full((2, 4), NO_LABEL)
    batch = dict.fromkeys(("names", "colours"), nothing[:, 0])
    batch |= dict.fromkeys(("place_names", "place_colours"), nothing)
    vectors = torch.ones(2, 250, requires_grad=True)
    output = TowerOutput(
        pooled=vectors,
        places=vectors[:0],
        probes={"names": vectors[:0], "colours": vectors[:0]},
        words={"names": torch.eye(250), "colours": torch.eye(250)},
        texts={"phrases": vectors},
        scale=torch.tensor(10.0),
    )
    loss, _ = clip_loss(output, batch)
    loss.backward()
    assert float(loss.detach()) == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_the_clip_loss_prefers_the_right_answer() -> None:
    names = torch.eye(250)
    batch = {
        "names": torch.tensor([3, NO_LABEL]),
        "colours": torch.tensor([0, NO_LABEL]),
        "place_names": torch.full((2, 4), NO_LABEL),
        "place_colours": torch.full((2, 4), NO_LABEL),
        "picked_names": torch.tensor([5, 3]),
    }
    batch["place_names"][0, 0] = 3
    batch["place_colours"][0, 0] = 0
    words = {"names": names, "colours": names[:10]}
    texts = {"names": names[[5, 3]], "colours": names[:10], "phrases": names[:2]}

    def loss(answer: int) -> float:
        output = TowerOutput(
            pooled=names[[answer, 0]],
            places=names[[answer]],
            probes={"names": 10 * names[[answer]], "colours": torch.zeros(1, 10)},
            words=words,
            texts=texts,
            scale=torch.tensor(10.0),
        )
        return float(clip_loss(output, batch)[0])

    assert loss(3) < loss(4) - 5


@pytest.mark.parametrize("build", [ClipResnetObjective, ClipVitObjective, SamObjective, ItmObjective])
def test_the_first_steps_of_the_real_objectives(build: Any, tmp_path: Path) -> None:
    objective = build(0)
    train(objective, TrainSettings(steps=2, batch_size=2, lr=1e-4, workers=0, log_every=1), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.isfinite(rows[-1]["loss"])
    other = build(1)
    other.start_from(tmp_path / "model")
    for key, value in objective.module.state_dict().items():
        if key.startswith(("words.", "probes.")):
            # Not shipped: words start where the text tower stands, probes anew.
            continue
        # Shipped in half precision, and averaged: close to the last step, and far from another random start.
        torch.testing.assert_close(other.module.state_dict()[key].float(), value.float(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("build", [ClipResnetObjective, ClipVitObjective, SamObjective, ItmObjective])
def test_all_that_is_trained_gets_a_gradient(build: Any) -> None:
    # Training by several processes stops at the second step where a weight gets none.
    objective = build(0)
    batch = objective.batches(TrainSettings(steps=1, batch_size=2, lr=1e-4))[0]
    objective.loss(objective.module, {key: torch.as_tensor(value) for key, value in batch.items()})[0].backward()
    idle = [name for name, p in objective.module.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_sam_prompts_lie_where_they_should() -> None:
    batch = SamScenes(0, 9, 4, 64)[0]
    for masks, points in zip(batch["point_masks"], batch["points"], strict=True):
        for index, (mask, (x, y)) in enumerate(zip(masks, points, strict=True)):
            assert mask[int(y), int(x)] == (index < len(masks) - NOWHERE)
            assert mask.any() == (index < len(masks) - NOWHERE)
    assert batch["box_masks"].any((2, 3)).all()
    for valid, masks in zip(batch["valid"], batch["box_masks"], strict=True):
        assert not masks[:, valid[0] :].any()
        assert not masks[:, :, valid[1] :].any()


def test_trainings_by_name(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"steps": 7}')
    assert resolve_training("mini-sam", config).settings.steps == 7
    assert "steps" in TRAININGS["mini-sam"].describe(tmp_path)
    config.write_text('{"stops": 7}')
    with pytest.raises(DataError, match="known are steps"):
        resolve_training("mini-sam", config)
    with pytest.raises(ExpressionError, match="no training called"):
        resolve_training("mini-gpt")

"""What teaches captioners places: questions about pasted pictures, and the first steps beside tiny random hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from host_kinds import host_of
from PIL import Image
from torch import Tensor

pytest.importorskip("accelerate")

from fovea.backbones.host import Host
from fovea.backbones.host_text import UNLEARNT
from fovea.backbones.peers import PEER_KINDS, PeerKind, load_peer
from fovea.errors import CheckpointError, DataError
from fovea.pasting.glyphs import glyph_pasting
from fovea.scenes.glyphs import pasted_glyphs
from fovea.training.loop import train
from fovea.training.pin_data import pastings
from fovea.training.pin_objective import FIRST_MEASURED, PinObjective
from fovea.training.pin_questions import PastedQuestions
from fovea.training.pin_settings import PinSettings
from fovea.training.recipes import TRAININGS, resolve_training

SETTINGS = PinSettings(
    steps=4, batch_size=3, workers=0, log_every=1, evaluate_every=4, measured=2, tokens=3, rank=2, cells=4
)


def questions(host: Host, seed: int = 0) -> PastedQuestions:
    pasting = glyph_pasting(32, seed=seed)
    return PastedQuestions(pasting, host.text, host.asking, host.room, seed=seed, batches=(8, 4), batch_size=4)


def objective(kind: PeerKind = "insert", host: str = "llava", **changes: Any) -> PinObjective:
    settings = replace(SETTINGS, kind=kind, **changes)
    made = PinObjective(settings, lambda size, cells: pastings(settings, None, size, cells))
    model = host_of(host)
    # Hosts are made once for all tests: what is new would depend on their order.
    torch.manual_seed(0)
    made.take(model)
    return made


def tensors(batch: dict[str, Any]) -> dict[str, Tensor]:
    return {key: torch.as_tensor(value) for key, value in batch.items()}


def test_batches_depend_on_their_number_alone() -> None:
    host = host_of("llava")
    first, again = questions(host)[5], questions(host)[5]
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    assert not np.array_equal(first["pixels"], questions(host)[6]["pixels"])
    assert not np.array_equal(first["pixels"], questions(host, seed=1)[5]["pixels"])
    assert first["pixels"].shape == (4, 32, 32, 3)
    assert len(questions(host)) == 8


@pytest.mark.parametrize("kind", ["llava", "blip-2"])
@pytest.mark.parametrize("number", [0, 5])
def test_labels_are_the_text_of_the_box(kind: str, number: int) -> None:
    # Every character is a token: what is learnt can be spelt out and read.
    host = host_of(kind)
    data = questions(host)
    batch = data[number]
    for row, labels in enumerate(batch["labels"]):
        pasted = data.pasting.picture(4 * number + row, (3, 3) if number < 4 else (1, 3))
        learnt = host.tokenizer.decode([id_ for id_ in labels if id_ != UNLEARNT])
        said = {
            f" {name} located at {box} </s>" if number < 4 else f" {box}</s>"
            for name, box in zip(pasted.names, map(host.codec.encode, pasted.cells), strict=True)
        }
        assert learnt in said
        np.testing.assert_array_equal(batch["pixels"][row], pasted.pixels)
        assert number >= 4 or len(pasted.names) == 3
        # Nothing behind the first learnt token is left out, but for what fills the row up.
        spoken = labels != UNLEARNT
        first = int(spoken.argmax())
        assert spoken[first:].sum() == batch["mask"][row, first:].sum()
        assert (batch["ids"][row][spoken] == labels[spoken]).all()


@pytest.mark.parametrize("kind", ["llava", "blip-2", "flamingo"])
def test_the_loss_is_the_obvious_one(kind: str) -> None:
    made = objective(host=kind)
    host, batch = made.host, tensors(made.batches(SETTINGS)[0])
    loss, _ = made.loss(made.module, batch)
    costs = []
    with torch.no_grad(), made.peer.joined(host):
        for row in range(3):
            one = {key: value[[row]] for key, value in batch.items()}
            logits = host.logits(one["pixels"], one, one["ids"].shape[1])[0]
            chances = logits.log_softmax(-1)
            for place in range(1, len(logits)):
                wanted = int(one["labels"][0, place])
                if wanted != UNLEARNT:
                    costs.append(-float(chances[place - 1, wanted]))
    assert float(loss.detach()) == pytest.approx(np.mean(costs), rel=1e-4)


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_what_is_trained_is_written_and_read(kind: PeerKind, tmp_path: Path) -> None:
    made = objective(kind, peer="")
    before = {key: value.clone() for key, value in made.host.model.state_dict().items()}
    started = {key: value.clone() for key, value in made.peer.network.state_dict().items()}
    train(made, made.settings, tmp_path)
    assert all(torch.equal(made.host.model.state_dict()[key], value) for key, value in before.items())
    peer = load_peer(str(tmp_path / "model"), made.host)
    assert peer.minutes is not None
    assert peer.codec.cells == 4
    trained = peer.network.state_dict()
    moved = [key for key, value in started.items() if not torch.equal(trained[key], value)]
    assert set(moved) == {name for name, _ in peer.network.named_parameters()}
    for key, value in made.peer.network.state_dict().items():
        torch.testing.assert_close(trained[key], value)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["loss"]) and 0 <= row["waited"] <= 1 for row in rows)
    (measured,) = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert list(measured) == ["step", "mIoU", "read", "mIoU_held_out", "read_held_out"]


def test_a_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    # The first step is of the first phase in both.
    whole, halves = objective(), objective(first_share=0.5)
    settings = replace(SETTINGS, evaluate_every=0)
    train(whole, settings, tmp_path / "whole")
    train(halves, replace(settings, steps=2), tmp_path / "halves")
    again = objective()
    train(again, settings, tmp_path / "halves")
    for key, value in whole.module.state_dict().items():
        torch.testing.assert_close(again.module.state_dict()[key], value)
    other = objective(host="llava-vit")
    other.models = "insert beside another"
    with pytest.raises(CheckpointError, match="belongs to other frozen models"):
        train(other, settings, tmp_path / "halves")
    # And another one starts where this one ended.
    following = objective(peer=str(tmp_path / "whole" / "model"))
    for key, value in whole.module.state_dict().items():
        torch.testing.assert_close(following.module.state_dict()[key], value)
    with pytest.raises(CheckpointError, match="is of kind insert"):
        objective("lora", peer=str(tmp_path / "whole" / "model"))


def test_an_insert_learns_a_box() -> None:
    # One picture, always the same question: it has to be learnt by heart.
    made = objective(zero_init=True)
    batch = tensors(made.batches(SETTINGS)[3])
    (optimizer,) = made.optimizers(replace(SETTINGS, lr=3e-3))
    losses = []
    for _ in range(60):
        loss, _ = made.loss(made.module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]


class KnowingHost:
    """Says what it is told to of each question, whatever the picture shows."""

    def __init__(self, host: Host, answers: Callable[[int], str]) -> None:
        self.asked = list[str]()
        self._host, self._answers = host, answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def answer(self, pictures: np.ndarray, questions: Sequence[str]) -> list[str]:
        assert len(pictures) == len(questions)
        self.asked += questions
        return [self._answers(number) for number in range(len(questions))]


def test_measurements_compare_answers_with_where_things_were_pasted() -> None:
    made = objective(measured=4)
    pictures = [made.learnt.picture(FIRST_MEASURED + number, (1, 3)) for number in range(4)]
    things = [(name, cells) for one in pictures for name, cells in zip(one.names, one.cells, strict=True)]
    # The truth, the whole picture, and nothing that can be read, in turn.
    said = [lambda cells: f" {made.peer.codec.encode(cells)}", lambda cells: " [0,0,224,224].", lambda cells: " [a]"]
    host = KnowingHost(made.host, lambda number: said[number % 3](things[number][1]))
    made.host = host  # type: ignore[assignment]
    found = made._measured(made.learnt)
    assert host.asked == [made.host.prompting.question(name) for name, _ in things]
    wanted = []
    for number, (_, (left, top, right, bottom)) in enumerate(things):
        whole = (right - left + 1) * (bottom - top + 1) / 16
        wanted.append([1.0, whole, 0.0][number % 3])
    assert found["mIoU"] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert found["read"] == pytest.approx(np.mean([number % 3 < 2 for number in range(len(things))]))


def test_training_goes_on_behind_a_measurement(tmp_path: Path) -> None:
    measured, whole = objective(), objective()
    train(measured, replace(SETTINGS, evaluate_every=2), tmp_path / "measured")
    train(whole, replace(SETTINGS, evaluate_every=0), tmp_path / "whole")
    for key, value in whole.module.state_dict().items():
        torch.testing.assert_close(measured.module.state_dict()[key], value)
    assert len((tmp_path / "measured" / "evaluations.jsonl").read_text().splitlines()) == 2


def test_runs_of_other_sizes_are_other_runs(tmp_path: Path) -> None:
    for kind, change in (("insert", {"table": "2d"}), ("coop", {"tokens": 4}), ("lora", {"alpha": 3})):
        assert objective(kind).models != objective(kind, **change).models  # type: ignore[arg-type]


def test_no_training_reaches_the_pictures_for_measuring() -> None:
    settings, processes = TRAININGS["pin"].settings, 1000
    assert processes * settings.steps * settings.batch_size < FIRST_MEASURED


def test_runs_of_another_grid_are_other_runs() -> None:
    assert objective().models != objective(cells=8).models


def test_names_for_measuring_are_not_learnt() -> None:
    made = objective()
    assert made.held_out is not None
    pictures = [made.learnt.picture(number, (1, 3)) for number in range(20)]
    held = {glyph.name for glyph in pasted_glyphs(held_out=True)}
    assert not held & {name for picture in pictures for name in picture.names}
    assert held.issuperset(name for number in range(5) for name in made.held_out.picture(number, (1, 3)).names)


def test_cut_outs_of_benchmarks_are_kept_for_measuring(tmp_path: Path) -> None:
    for name in ("dog", "gargoyle", "tuba"):
        (tmp_path / name).mkdir()
        Image.new("RGBA", (20, 10), (200, 40, 40, 255)).save(tmp_path / name / "1.png")
    learnt, held = pastings(SETTINGS, tmp_path, 32, 4)
    assert held is not None
    assert {name for number in range(9) for name in learnt.picture(number, (2, 2)).names} == {"gargoyle", "tuba"}
    assert set(held.picture(0, (1, 1)).names) == {"dog"}
    assert pastings(replace(SETTINGS, exclude=()), tmp_path, 32, 4)[1] is None
    (tmp_path / "photo.png").write_bytes((tmp_path / "dog" / "1.png").read_bytes())
    photographs = replace(SETTINGS, backgrounds=str(tmp_path))
    for data in (None, tmp_path):
        made = pastings(photographs, data, 32, 4)
        assert all(pasting is not None and "1 files" in pasting.backgrounds.key for pasting in made)
    assert "on cut-outs of 3 categories" in TRAININGS["pin"].describe(tmp_path, Path("host"), tmp_path)
    with pytest.raises(DataError):
        pastings(SETTINGS, tmp_path / "nowhere", 32, 4)


def test_the_training_by_name(tmp_path: Path) -> None:
    pin = TRAININGS["pin"]
    assert "on pasted glyphs" in pin.describe(tmp_path, Path("host"))
    with pytest.raises(CheckpointError, match="starts from a captioner"):
        pin.run(tmp_path)
    config = tmp_path / "config.json"
    for wrong in (
        '{"kind": "adapter"}', '{"table": "3d"}', '{"first_share": 2}', '{"tokens": 0}', '{"measured": 50.5}',
        '{"seed": -1}', '{"lr": "1e-3"}', '{"referral": "false"}', '{"exclude": "coco"}', '{"milestones": [2]}',
    ):  # fmt: skip
        config.write_text(wrong)
        with pytest.raises(DataError, match="no set of training settings"):
            resolve_training("pin", config)

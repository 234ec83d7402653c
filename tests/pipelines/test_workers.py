"""Errors that are no fault of a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fovea.datasets.boxed_pictures import SceneBoxes
from fovea.datasets.region_tokens import shard_path
from fovea.errors import CheckpointError
from fovea.pipelines import run, tokens
from fovea.pipelines.output import Output
from fovea.pipelines.records import Content, Record
from fovea.pipelines.tokens import TokenRun, TokenSettings
from fovea.pipelines.workers import ending_errors, reason_of

ENDING = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    getattr(torch, "AcceleratorError", torch.OutOfMemoryError)("CUDA error: an illegal memory access"),
    CheckpointError("no model"),
]


@pytest.mark.parametrize("error", ENDING, ids=lambda error: type(error).__name__)
def test_short_memory_is_no_fault_of_a_picture(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(tokens.Extractor, "__call__", fail)
    with pytest.raises(type(error)):
        TokenRun(SceneBoxes(5, 2, 64), TokenSettings(clip_size=32), tmp_path).run()
    assert not shard_path(tmp_path, 0).exists()

    def content() -> Content:
        raise error

    with pytest.raises(type(error)):
        run._attempt("a", Record("a", content), fail)  # type: ignore[arg-type]
    assert not Output(tmp_path).done(0)


def test_other_errors_are() -> None:
    assert not issubclass(RuntimeError, ending_errors())
    assert reason_of(RuntimeError("a\n b" + "c" * 400)) == f"RuntimeError: a b{'c' * 400}"[:300]


def test_a_model_that_cannot_be_loaded_is_said_by_workers_too(tmp_path: Path) -> None:
    (tmp_path / "sam").mkdir()
    (tmp_path / "sam" / "config.json").write_text("{}")
    work = TokenRun(SceneBoxes(5, 2, 64), TokenSettings(str(tmp_path), 32, per_shard=1), tmp_path / "out")
    with pytest.raises(CheckpointError, match="safetensors"):
        work.run(workers=2)
    assert len(work.missing()) == 2

"""What is and what is no file of weights."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fovea.errors import CheckpointError
from fovea.networks.checkpoint_files import read_checkpoint


class _Program:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_safetensors_and_pickles_on_request(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3.0)}
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "a.pth")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors")["a"], weights["a"])
    assert torch.equal(read_checkpoint(tmp_path / "a.pth", allow_pickle=True)["a"], weights["a"])
    with pytest.raises(CheckpointError, match="only read on request"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>quota exceeded", "web page"),
        (b"\n<HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"", "empty"),
        (b"PK\x03\x04 truncated", "damaged"),
        (pickle.dumps(_Program(), 2), "damaged"),
    ],
)
def test_what_only_looks_like_weights(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / name, allow_pickle=True)


def test_torchscript_and_lists(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "a.pt", allow_pickle=True)
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_checkpoint(tmp_path / "b.pt", allow_pickle=True)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "none.pt")

"""What ``--models`` names, with presets and embedded models in the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fovea.backbones.sources import MINIS, PRESETS, resolve_models, weights_fingerprint
from fovea.errors import CheckpointError


@pytest.fixture
def peer(tmp_path: Path) -> str:
    (tmp_path / "peer-of-mine").mkdir()
    (tmp_path / "peer-of-mine" / "config.json").write_text(json.dumps({"model_type": "fovea-peer"}))
    return str(tmp_path / "peer-of-mine")


def test_what_is_named_replaces_the_presets(peer: str) -> None:
    mini, named = PRESETS["mini"], resolve_models(f"mini,{peer}")
    assert (named.peer, named.vlm, named.sam, named.clips) == (peer, mini.vlm, mini.sam, mini.clips)
    assert named.name == f"mini,{peer}"
    assert named.embedded
    assert not resolve_models("mini,some/clip").embedded
    # Another captioner is not asked with what was trained beside the embedded one.
    other = resolve_models("mini,some/llava-1.5")
    assert (other.of("vlm"), other.peer) == (("some/llava-1.5",), "")
    with pytest.raises(CheckpointError, match="more than one preset"):
        resolve_models("mini,photo")


def test_embedded_models_have_names(peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = resolve_models("mini-vlm,mini-pin,mini-sam")
    assert (named.of("vlm"), named.peer) == ((str(MINIS / "mini-vlm"),), str(MINIS / "mini-pin"))
    assert named.sam == str(MINIS / "mini-sam")
    # A directory of that name goes first, and names lead nowhere else.
    (tmp_path / "mini-sam").mkdir()
    (tmp_path / "mini-sam" / "config.json").write_text('{"model_type": "sam"}')
    monkeypatch.chdir(tmp_path)
    assert resolve_models("mini-sam,some/clip").sam == "mini-sam"
    assert resolve_models("../minis,some/sam").clips == ("../minis",)


def test_a_peer_needs_its_captioner(peer: str) -> None:
    for models in (peer, f"{peer},some/clip"):
        with pytest.raises(CheckpointError, match="and no captioner; name both"):
            resolve_models(models)


def test_weights_are_the_same_whatever_is_said_of_their_use(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"some")
    (tmp_path / "config.json").write_text("{}")
    before = weights_fingerprint(str(tmp_path))
    (tmp_path / "fovea.json").write_text("{}")
    (tmp_path / "generation_config.json").write_text("{}")
    assert weights_fingerprint(str(tmp_path)) == before
    (tmp_path / "config.json").write_text('{"a": 1}')
    changed = weights_fingerprint(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert len({before, changed, weights_fingerprint(str(tmp_path))}) == 3

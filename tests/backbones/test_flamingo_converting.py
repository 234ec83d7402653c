"""Pieces of an OpenFlamingo and a released insert, as people have them, to directories."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from host_kinds import coloured_pictures, spelling_tokenizer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel

from fovea.backbones.converting import convert_checkpoint
from fovea.backbones.host import load_host
from fovea.backbones.peers import load_peer
from fovea.errors import CheckpointError
from fovea.language.box_text import FLAMINGO
from fovea.networks.flamingo import Flamingo, FlamingoConfig, VisionTokens
from fovea.networks.perceiver import AttentionSizes
from fovea.networks.positional_insert import InsertConfig, PositionalInsert


def _small(**more: object) -> dict[str, object]:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    return {**sizes, **more}


@pytest.fixture
def pieces(tmp_path: Path) -> Flamingo:
    """A Flamingo, beside the pieces that it is published in: ``clip``, ``lm`` and ``weights.pt``."""
    torch.manual_seed(0)
    tokenizer = spelling_tokenizer()
    # The language model that it was built around had neither its last two words nor its own.
    words = len(tokenizer)
    tower = CLIPVisionModel(CLIPVisionConfig(**_small(image_size=32, patch_size=8)))
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt_neox", **_small(vocab_size=words + 2)))
    tower.save_pretrained(tmp_path / "clip")
    lm.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    image, end = tokenizer.convert_tokens_to_ids(["<image>", "<|endofchunk|>"])
    sizes = AttentionSizes(2, 64, 3)
    model = Flamingo(
        FlamingoConfig(32, image, end, 2, depth=2, latents=5, resampler=sizes, gated=sizes), VisionTokens(tower), lm
    )
    for gate in model.gates.values():
        nn.init.ones_(gate.attn_gate)
    nn.init.normal_(lm.get_input_embeddings().weight)
    state = {f"module.perceiver.{key}": value for key, value in model.perceiver.state_dict().items()}
    for key, value in model.gates.state_dict().items():
        state[f"module.lang_encoder.gated_cross_attn_layers.{key}"] = value
    state["module.lang_encoder.gpt_neox.embed_in.weight"] = lm.get_input_embeddings().weight
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "weights.pt")
    return model.eval()


def test_pieces_are_joined(pieces: Flamingo, tmp_path: Path) -> None:
    base = f"{tmp_path / 'clip'},{tmp_path / 'lm'}"
    made = convert_checkpoint(tmp_path / "weights.pt", tmp_path / "out", base, allow_pickle=True)
    assert made.kind == "OpenFlamingo"
    assert made.notes[0].endswith("0 not used")
    host = load_host(str(tmp_path / "out"))
    assert host.prompting == FLAMINGO
    pixels = torch.randn(2, 1, 1, 3, 32, 32)
    ids = torch.tensor([host.text.ids("<image>a cat"), host.text.ids("<image>a dog")])
    with torch.no_grad():
        torch.testing.assert_close(host.model(pixels, ids).logits, pieces(pixels, ids).logits)
    assert len(host.answer(coloured_pictures(2), [host.prompting.question(name) for name in ("cat", "dog")])) == 2


def test_wrong_pieces_are_one_clear_error(pieces: Flamingo, tmp_path: Path) -> None:
    weights, out = tmp_path / "weights.pt", tmp_path / "out"
    with pytest.raises(CheckpointError, match="neither its CLIP nor its language model"):
        convert_checkpoint(weights, out, allow_pickle=True)
    with pytest.raises(CheckpointError, match="pickles are only read on request"):
        convert_checkpoint(weights, out, "clip,lm")
    other = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("llama", **_small(vocab_size=90, num_key_value_heads=2, hidden_size=64))
    )
    other.save_pretrained(tmp_path / "other")
    spelling_tokenizer().save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="build the model around the language model"):
        convert_checkpoint(weights, out, f"{tmp_path / 'clip'},{tmp_path / 'other'}", allow_pickle=True)
    assert not out.exists()


def test_a_released_insert_becomes_a_peer(pieces: Flamingo, tmp_path: Path) -> None:
    insert = PositionalInsert(InsertConfig((4, 4), 32))
    torch.save({"mlp": insert.mlp.state_dict(), "pos_enc": insert.pos_enc}, tmp_path / "pin.pt")
    made = convert_checkpoint(tmp_path / "pin.pt", tmp_path / "peer", allow_pickle=True)
    assert made.option == "--peer"
    base = f"{tmp_path / 'clip'},{tmp_path / 'lm'}"
    convert_checkpoint(tmp_path / "weights.pt", tmp_path / "out", base, allow_pickle=True)
    host = load_host(str(tmp_path / "out"))
    peer = load_peer(str(tmp_path / "peer"), host)
    assert torch.equal(peer.network(), insert())
    question = host.prompting.question("cat")
    with peer.joined(host):
        assert len(host.answer(coloured_pictures(1), [question])) == 1

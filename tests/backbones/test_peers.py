"""Every kind of peer beside tiny random hosts of every type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from host_kinds import KINDS, coloured_pictures, host_of
from torch import Tensor

from fovea.backbones.host import Host
from fovea.backbones.peers import PEER_KINDS, Peer, PeerKind, PeerOptions, load_peer, new_peer, published_insert
from fovea.errors import CheckpointError
from fovea.language.box_text import GridCodec
from fovea.networks.host_shape import tower_blocks
from fovea.networks.peers.insert import InsertPeer
from fovea.networks.positional_insert import InsertConfig, PositionalInsert

PICTURES = coloured_pictures(2)

OPTIONS = PeerOptions(tokens=3, rank=2)


@cache
def shared_host(kind: str) -> Host:
    return host_of(kind)


def hooks(host: Host) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in host.model.modules())


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    host = shared_host(request.param)
    # Some models of transformers hang hooks of their own in when they are asked first.
    logits(host)
    before, hanging = {key: value.clone() for key, value in host.model.state_dict().items()}, hooks(host)
    yield host
    after = host.model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert hooks(host) == hanging


def trained(kind: PeerKind, host: Host) -> Peer:
    """As if it had learnt something: adapters start without an effect."""
    torch.manual_seed(1)
    peer = new_peer(kind, host, OPTIONS)
    for weight in peer.network.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    peer.network.eval()
    return peer


def logits(host: Host) -> Tensor:
    texts = [[host.prompting.answered(name, "[0,0,14,14]")] for name in ("cat", "old dog")]
    batch = host.text.batch(texts, room=host.room, learnt_from=[len(text[0]) - 9 for text in texts])
    rows = {key: torch.from_numpy(value) for key, value in batch.items()}
    return host.logits(torch.from_numpy(PICTURES), rows, 8)


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_a_peer_changes_its_host_while_it_is_joined(kind: PeerKind, host: Host) -> None:
    peer = trained(kind, host)
    questions = [host.prompting.question(name) for name in ("cat", "old dog")]
    with torch.no_grad():
        plain, told = logits(host), host.answer(PICTURES, questions)
        with peer.joined(host):
            assert (logits(host) - plain).abs().max() > 1e-4
            seen = host.answer(PICTURES, questions)
            # What is asked together is answered alone, with beams.
            assert seen[1:] == host.answer(PICTURES[1:], questions[1:])
            with pytest.raises(CheckpointError, match="joined"), peer.joined(host):
                pass
        assert torch.equal(logits(host), plain)
        assert host.answer(PICTURES, questions) == told


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_gradients_reach_the_peer_and_nothing_else(kind: PeerKind, host: Host) -> None:
    peer = trained(kind, host)
    with peer.joined(host):
        logits(host).square().mean().backward()
    idle = [name for name, p in peer.network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []
    assert all(weight.grad is None for weight in host.model.parameters())


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_a_peer_is_read_as_it_was_written(kind: PeerKind, tmp_path: Path) -> None:
    host = shared_host("blip-2")
    peer = trained(kind, host)
    peer.host, peer.minutes = "unknown", 3.5
    peer.save(tmp_path)
    again = load_peer(str(tmp_path), host)
    assert (again.kind, again.asking, again.parameters, again.minutes) == (kind, peer.asking, peer.parameters, 3.5)
    for key, value in peer.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value)
    with torch.no_grad(), peer.joined(host):
        wanted = logits(host)
    with torch.no_grad(), again.joined(host):
        assert torch.equal(logits(host), wanted)


def test_parameters_are_counted() -> None:
    host = shared_host("llava")
    counts = {kind: new_peer(kind, host).parameters for kind in PEER_KINDS}
    assert counts["coop"] == counts["vpt-fusion"] == counts["vpt-vision"] == 20 * 32
    # Four maps between 32 numbers and two between 32 and 48, in two of three layers: words see the last one not.
    assert counts["lora"] == 2 * 8 * (4 * (32 + 32) + 2 * (32 + 48))
    assert counts["insert"] == sum(p.numel() for p in PositionalInsert(InsertConfig((4, 4), 32)).parameters())


def test_a_peer_is_trained_in_single_precision_beside_a_host_of_half() -> None:
    host = host_of("llava")
    host.model.to(torch.bfloat16)
    host.dtype = torch.bfloat16
    for kind in PEER_KINDS:
        peer = trained(kind, host)
        with peer.joined(host):
            logits(host).float().square().mean().backward()
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in peer.network.parameters() if p.grad is not None)


@pytest.mark.parametrize(("kind", "place"), [("llava", 1), ("llava-vit", 0)])
def test_tokens_of_the_tower_stand_where_released_ones_do(kind: str, place: int) -> None:
    # Behind the class token where there is one; and of what leaves, only places of the picture are left.
    host = shared_host(kind)
    peer = trained("vpt-vision", host)
    _, first = tower_blocks(host.model)[0]
    seen: list[Tensor] = []
    with torch.no_grad(), peer.joined(host):
        handles = [
            module.register_forward_hook(lambda module, args, found: seen.append(args[0]))
            for module in (first, host.model.get_submodule("model.multi_modal_projector"))
        ]
        logits(host)
        for handle in handles:
            handle.remove()
    assert seen[0].shape[1] == 16 + 3 + place
    torch.testing.assert_close(seen[0][0, place : place + 3], peer.network.tokens)
    assert seen[1].shape[1] == 16


def test_beside_a_host_that_nobody_knows_it_belongs_to_any(tmp_path: Path) -> None:
    host = host_of("llava")
    new_peer("coop", host, OPTIONS).save(tmp_path)
    host.fingerprint = "1" * 32
    with load_peer(str(tmp_path), host).joined(host):
        assert host.room.words == 3


def test_another_grid_is_asked_for_as_trained() -> None:
    host = shared_host("llava")
    peer = new_peer("insert", host, cells=8)
    with peer.joined(host):
        assert host.codec == peer.codec == GridCodec(8, 224)
    assert host.codec == GridCodec()


def test_what_is_no_peer_of_a_host_says_so(tmp_path: Path) -> None:
    host = shared_host("llava")
    peer = new_peer("coop", host, OPTIONS)
    peer.save(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    for change, says in (
        ({"model_type": "clip"}, "nothing that was trained beside"),
        ({"kind": "adapter"}, "describes no peer"),
        ({"kind": ["insert"]}, "describes no peer"),
        ({"settings": {"wide": 3}}, "describes no peer"),
        ({"settings": {"width": 32, "count": 4}}, "weights in"),
        ({"codec": 3}, "do not say how it is asked"),
        ({"host": "0" * 32}, "trained beside another model"),
    ):
        host.fingerprint = "1" * 32
        (tmp_path / "config.json").write_text(json.dumps(stated | {"host": "1" * 32} | change))
        with pytest.raises(CheckpointError, match=says):
            load_peer(str(tmp_path), host)
    host.fingerprint = "unknown"
    with pytest.raises(CheckpointError):
        load_peer(str(tmp_path / "nowhere"), host)
    other = Peer("insert", InsertPeer(InsertConfig((3, 4), 32)), host.asking)
    with pytest.raises(CheckpointError, match="made for 12 places"), other.joined(host):
        logits(host)
    tokenless = new_peer("insert", shared_host("blip-2"))
    with pytest.raises(CheckpointError, match="cannot be asked so"), tokenless.joined(host):
        pass


def test_the_published_insert_is_read() -> None:
    insert = PositionalInsert(InsertConfig((16, 16), 1024))
    peer = published_insert({"mlp": insert.mlp.state_dict(), "pos_enc": insert.pos_enc})
    assert peer.parameters == 1_217_280
    assert torch.equal(peer.network(), insert())
    with pytest.raises(CheckpointError, match="holds no positional insert"):
        published_insert({"mlp": {}, "pos_enc": insert.pos_enc})

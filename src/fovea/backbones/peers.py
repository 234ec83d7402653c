"""What is trained beside a frozen captioner: made anew, joined to it, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fovea.backbones.host import Host
from fovea.backbones.host_asking import Asking, read_asking
from fovea.backbones.sources import not_loaded, read_model
from fovea.errors import CheckpointError
from fovea.files import write_atomically
from fovea.language.box_text import FLAMINGO, GridCodec
from fovea.networks.host_shape import HostShape
from fovea.networks.peers.coop import LearntWords, WordsConfig
from fovea.networks.peers.insert import InsertPeer
from fovea.networks.peers.lora import LoraConfig, TowerAdapters, linear_layers
from fovea.networks.peers.peer import PeerNetwork
from fovea.networks.peers.vpt_fusion import FusionTokens, TokensConfig
from fovea.networks.peers.vpt_vision import TowerTokens
from fovea.networks.positional_insert import InsertConfig, Table

#: What ``config.json`` calls such a directory.
MODEL_TYPE = "fovea-peer"

#: What can be trained beside a host (specs/pin.md, 2, 7).
PeerKind = Literal["insert", "coop", "vpt-fusion", "vpt-vision", "lora"]

PEER_KINDS: tuple[PeerKind, ...] = get_args(PeerKind)

_NETWORKS: dict[str, tuple[type, type]] = {
    "insert": (InsertPeer, InsertConfig),
    "coop": (LearntWords, WordsConfig),
    "vpt-fusion": (FusionTokens, TokensConfig),
    "vpt-vision": (TowerTokens, TokensConfig),
    "lora": (TowerAdapters, LoraConfig),
}

# Of what the tower's own tokens and adapters see, while they are trained, as released.
_DROPOUT = 0.1


@dataclass(frozen=True)
class PeerOptions:
    """What can be chosen; the defaults are the published ones.

    Attributes:
        tokens: learnt tokens or words, where there are some.
        rank: of adapters.
        alpha: of adapters: they are multiplied by it, divided by the rank.
        table: how an insert numbers places.
        zero_init: whether an insert starts by changing nothing.
    """

    tokens: int = 20
    rank: int = 8
    alpha: float = 16
    table: Table = "1d"
    zero_init: bool = False


class Peer:
    """Weights beside a host, and how the host is asked with them.

    Args:
        kind: which.
        network: the weights.
        asking: as trained.
        host: fingerprint of the host that it was trained beside; empty where nobody knows.
        minutes: of its training; None where nobody knows.
    """

    def __init__(
        self, kind: PeerKind, network: PeerNetwork, asking: Asking, host: str = "", minutes: float | None = None
    ) -> None:
        self.kind, self.network, self.asking, self.host, self.minutes = kind, network, asking, host, minutes

    @property
    def codec(self) -> GridCodec:
        """How boxes are written, as trained."""
        return self.asking.codec

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(weight.numel() for weight in self.network.parameters())

    @contextmanager
    def joined(self, host: Host) -> Iterator[None]:
        """A context in which a host answers with it; afterwards the host is what it was.

        Raises:
            CheckpointError: the host was not the one of training, or something is joined to it already.
        """
        if self.host and host.fingerprint not in (self.host, "unknown"):
            raise CheckpointError(
                f"{host.name} is not the model that this {self.kind} was trained beside", "name that one"
            )
        self.network.to(host.device)
        with host.standing(self.asking, self.network.room(host.model)), self.network.attached(host.model):
            yield

    def save(self, directory: Path) -> None:
        """Write it. The settings come last: a directory without them is taken for nothing.

        Raises:
            DataError: it cannot be written there.
        """
        from safetensors.torch import save

        state = {key: value.detach().float().contiguous().cpu() for key, value in self.network.state_dict().items()}
        codec, prompting = self.asking.codec, self.asking.prompting
        stated = {
            "model_type": MODEL_TYPE,
            "kind": self.kind,
            "settings": asdict(self.network.config),
            "host": self.host,
            "codec": {"cells": codec.cells, "frame": codec.frame},
            "prompting": {"before": prompting.before, "end": prompting.end},
            "parameters": self.parameters,
            "minutes": self.minutes,
        }
        write_atomically(directory / "model.safetensors", save(state, {"format": "pt"}))
        write_atomically(directory / "config.json", json.dumps(stated, indent=1) + "\n")


def new_peer(kind: PeerKind, host: Host, options: PeerOptions | None = None, cells: int | None = None) -> Peer:
    """A peer that has learnt nothing yet.

    Args:
        kind: which.
        host: that it will be trained beside.
        options: its sizes.
        cells: per side of the grid that boxes are written on; as the host is asked where it is None.

    Raises:
        CheckpointError: boxes cannot be written so.
    """
    options = options or PeerOptions()
    network, _ = _NETWORKS[kind]
    codec = host.codec if cells is None else GridCodec(cells, host.codec.frame)
    asking = Asking(host.prompting, codec)
    host.check_asking(asking)
    built: PeerNetwork = network(_config(kind, host, options))
    known = "" if host.fingerprint == "unknown" else host.fingerprint
    return Peer(kind, built, asking, known)


def _config(kind: PeerKind, host: Host, options: PeerOptions) -> Any:
    shape: HostShape = host.shape
    if kind == "insert":
        return InsertConfig(
            shape.grid, shape.width, shape.class_token, table=options.table, zero_init=options.zero_init
        )
    if kind == "coop":
        return WordsConfig(shape.word_width, options.tokens)
    if kind == "lora":
        return LoraConfig(linear_layers(host.model), options.rank, options.alpha, _DROPOUT)
    if kind == "vpt-vision":
        return TokensConfig(shape.tower_width, shape.patch, options.tokens, _DROPOUT)
    return TokensConfig(shape.width, shape.patch, options.tokens)


def load_peer(source: str, host: Host) -> Peer:
    """Read a peer.

    Args:
        source: a directory or a hub name.
        host: that it was trained beside.

    Raises:
        CheckpointError: it cannot be found, is no peer, or was trained beside another host.
    """
    try:
        data, state = read_model(source)
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error
    peer = _described(data, source, host.asking)
    if peer.host and host.fingerprint not in (peer.host, "unknown"):
        raise CheckpointError(f"{source} was trained beside another model than {host.name}", "name that model")
    try:
        peer.network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {source} are not those that it describes", "is it complete?") from error
    peer.network.eval().requires_grad_(False).to(host.device)
    return peer


def _described(data: Mapping[str, Any], source: str, usual: Asking) -> Peer:
    if not isinstance(data, dict) or data.get("model_type") != MODEL_TYPE:
        raise CheckpointError(f"{source} is nothing that was trained beside a captioner", "name the folder of a peer")
    kind, settings, minutes = data.get("kind"), data.get("settings", {}), data.get("minutes")
    prompting = data.get("prompting")
    asking = read_asking({**(prompting if isinstance(prompting, dict) else {}), **data}, usual, source)
    try:
        network, config = _NETWORKS[kind]  # type: ignore[index]
        built: PeerNetwork = network(config(**settings))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{source} describes no peer ({error})", "was it written by fovea?") from error
    minutes = float(minutes) if isinstance(minutes, int | float) else None
    return Peer(kind, built, asking, str(data.get("host") or ""), minutes)  # type: ignore[arg-type]


def is_published_insert(content: Mapping[str, Any]) -> bool:
    """Whether a file of weights holds a positional insert as it was released."""
    return {"mlp", "pos_enc"} <= content.keys()


def published_insert(state: Mapping[str, Any]) -> Peer:
    """The insert of the released file, for an OpenFlamingo.

    Args:
        state: what the file holds: the MLP's weights under ``mlp`` and the table under ``pos_enc``.

    Raises:
        CheckpointError: it holds something else.
    """
    try:
        table = state["pos_enc"]
        weights = {f"mlp.{key}": value for key, value in state["mlp"].items()} | {"pos_enc": table}
        last = max(int(key.split(".")[0]) for key in state["mlp"])
        side = round(table.shape[1] ** 0.5)
        class_token = side * side != table.shape[1]
        if side * side + class_token != table.shape[1]:
            raise ValueError(f"{table.shape[1]} places are no square")
        hidden = tuple(state["mlp"][f"{layer}.weight"].shape[0] for layer in range(0, last, 3))
        width = state["mlp"][f"{last}.weight"].shape[0]
        config = InsertConfig((side, side), width, class_token, table_width=table.shape[2], hidden=hidden)
        network = InsertPeer(config)
        network.load_state_dict(weights)
    except (KeyError, AttributeError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"the file holds no positional insert ({error})", "is it the whole file?") from error
    return Peer("insert", network, Asking(FLAMINGO, GridCodec()))

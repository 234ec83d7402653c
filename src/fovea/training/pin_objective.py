"""The training of what stands beside a frozen captioner: it learns to write boxes of pasted things (specs/pin.md, 4).

The captioner has no gradients of its own, but lets them pass. Its picture tower is in front of most kinds of peers, so
that nothing of it is kept for the way back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import Dataset

from fovea.backbones.host import Host, load_host
from fovea.backbones.host_text import UNLEARNT
from fovea.backbones.peers import Peer, load_peer, new_peer
from fovea.errors import CheckpointError
from fovea.evaluation.told_boxes import told_ious
from fovea.pasting.pictures import Pasted, Pasting
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.pin_questions import PastedQuestions
from fovea.training.pin_settings import PinSettings
from fovea.training.settings import TrainSettings

#: First picture for measuring. Trainings see pictures from 0 on, millions of them, and none reaches this.
FIRST_MEASURED = 1 << 40

#: Pictures with names that are learnt, and with names that are kept for measuring; None where there are none.
Pastings = tuple[Pasting, Pasting | None]


class Taught(nn.Module):
    """A peer that learns beside its host. The host is no part of it.

    Args:
        peer: learns.
        host: does not.
    """

    def __init__(self, peer: Peer, host: Host) -> None:
        super().__init__()
        self.network = peer.network
        # In a list, so that nothing of the host is registered.
        self._beside = [(peer, host)]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the share of learnt tokens that were expected most."""
        ((peer, host),) = self._beside
        host.move(batch["ids"].device)
        labels = batch["labels"]
        # Nothing is needed in front of the first word that is learnt in any row.
        first = int((labels != UNLEARNT).any(0).nonzero()[0, 0])
        wanted = labels[:, first:]
        # The host has its own precision, and what learns is to have all of it.
        with torch.autocast(batch["ids"].device.type, enabled=False), peer.joined(host):
            logits = host.logits(batch["pixels"], batch, wanted.shape[1] + 1)[:, :-1].float()
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=UNLEARNT)
        learnt = wanted != UNLEARNT
        return loss, (logits.argmax(-1) == wanted)[learnt].float().mean()


class PinObjective:
    """Teaches a captioner places.

    Nothing can be asked of it before :meth:`start_from`.

    Args:
        settings: how.
        pastings: makes the pictures, for a side in pixels and cells per side.
    """

    module: Taught

    def __init__(self, settings: PinSettings, pastings: Callable[[int, int], Pastings]) -> None:
        self.settings, self._pastings = settings, pastings
        #: Of training, set by the loop.
        self.minutes: float | None = None

    def start_from(self, directory: Path) -> None:
        """Take the captioner that is taught.

        Args:
            directory: or a name on the model hub.

        Raises:
            CheckpointError: it cannot be asked for boxes, or the peer that training starts from is not its own.
            DataError: there is nothing to paste.
        """
        settings = self.settings
        torch.manual_seed(settings.seed)
        half = settings.precision == "bf16"
        self.host = load_host(str(directory), dtype=torch.bfloat16 if half else torch.float32)
        self.take(self.host)

    def take(self, host: Host) -> None:
        """The same for a captioner that is loaded.

        Raises:
            CheckpointError: as of :meth:`start_from`.
            DataError: likewise.
        """
        settings, self.host = self.settings, host
        self.peer = self._start(host)
        cells = self.peer.codec.cells
        #: What is trained belongs to the host, and is of one kind and size that says its boxes on one grid.
        sizes = hashlib.blake2b(repr(self.peer.network.config).encode(), digest_size=8).hexdigest()
        self.models = f"{settings.kind} {sizes} of {cells} cells beside {host.fingerprint}"
        self.learnt, self.held_out = self._pastings(host.size, cells)
        self.module = Taught(self.peer, host)

    def _start(self, host: Host) -> Peer:
        settings = self.settings
        if not settings.peer:
            return new_peer(settings.kind, host, settings.options, settings.cells or None)
        peer = load_peer(settings.peer, host)
        if peer.kind != settings.kind or settings.cells not in (0, peer.codec.cells):
            raise CheckpointError(
                f"{settings.peer} is of kind {peer.kind} with {peer.codec.cells} cells", "set kind and cells alike"
            )
        peer.network.requires_grad_(True)
        return peer

    @property
    def groups(self) -> Sequence[WeightGroup]:
        """None: all weights learn alike."""
        return ()

    def optimizers(self, settings: TrainSettings) -> list[Optimizer]:
        """As published."""
        return [Adam(self.module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Questions about pasted pictures."""
        count = settings.steps * PartialState(cpu=not torch.cuda.is_available()).num_processes
        return PastedQuestions(
            self.learnt,
            self.host.text,
            self.peer.asking,
            self.peer.network.room(self.host.model),
            seed=settings.seed,
            batches=(count, round(count * self.settings.first_share)),
            batch_size=settings.batch_size,
        )

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The cross-entropy of what is learnt, and the share of tokens that are expected most."""
        loss, right = module(batch)
        return loss, {"right": float(right)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """How well boxes of pasted things are told, in pictures that are not trained on, read as strictly as published.

        Returns:
            ``mIoU`` of names that are learnt, and the share ``read`` of answers that are boxes; of names that are kept
            for measuring ``mIoU_held_out`` and ``read_held_out`` where there are some.
        """
        measured = {"": self.learnt, "_held_out": self.held_out}
        with self._telling():
            return {
                f"{key}{end}": value
                for end, pasting in measured.items()
                if pasting is not None
                for key, value in self._measured(pasting).items()
            }

    @contextmanager
    def _telling(self) -> Iterator[None]:
        with torch.autocast(self.host.device.type, enabled=False), self.peer.joined(self.host):
            yield

    def _measured(self, pasting: Pasting) -> dict[str, float]:
        pictures = [pasting.picture(FIRST_MEASURED + number, (1, 3)) for number in range(self.settings.measured)]
        things = [(picture, index) for picture in pictures for index in range(len(picture.names))]
        questions = [self.host.prompting.question(picture.names[index]) for picture, index in things]
        told = self.host.answer(np.stack([picture.pixels for picture, _ in things]), questions)
        codec = self.peer.codec
        side = (self.host.size, self.host.size)
        boxes = [codec.decode(answer, side) for answer in told]
        truth = [codec.decode(f" {self._box(picture, index)}", side) for picture, index in things]
        ious = told_ious(boxes, [box for box in truth if box is not None])
        return {"mIoU": float(ious.mean()), "read": float(np.mean([box is not None for box in boxes]))}

    def _box(self, picture: Pasted, index: int) -> str:
        return self.peer.codec.encode(picture.cells[index])

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write the peer."""
        peer, kept = self.peer, self.peer.network.state_dict()
        kept = {key: value.clone() for key, value in kept.items()}
        peer.minutes = self.minutes
        peer.network.load_state_dict({key.removeprefix("network."): value for key, value in state.items()})
        try:
            peer.save(directory)
        finally:
            peer.network.load_state_dict(kept)

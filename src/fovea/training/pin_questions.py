"""Questions about pasted pictures with their answers, to learn from (specs/pin.md, 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.backbones.host_asking import Asking
from fovea.backbones.host_text import HostText
from fovea.networks.host_shape import Room
from fovea.pasting.pictures import Pasting

# Things in a picture while names are learnt, and afterwards.
_FIRST, _THEN = (3, 3), (1, 3)

# So that what is asked shares no random numbers with the pictures.
_STREAM = 31


class PastedQuestions(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    One thing of each picture is asked for, drawn at random. In the first batches three things stand in each picture
    and the name is learnt with the box; there are one to three later, and only the box is learnt.

    A batch holds, for B pictures of side S:
        pixels: ``(B, S, S, 3)`` uint8.
        ids, mask, labels: ``(B, L)`` int64, see :meth:`fovea.backbones.host_text.HostText.batch`.

    Args:
        pasting: makes the pictures, on the grid of the codec.
        text: writes what the host reads.
        asking: how the host is asked.
        room: what is kept free in its texts.
        seed: of what is asked.
        batches: how many there are, and how many of them are the first.
        batch_size: pictures in each.
    """

    def __init__(
        self,
        pasting: Pasting,
        text: HostText,
        asking: Asking,
        room: Room,
        *,
        seed: int,
        batches: tuple[int, int],
        batch_size: int,
    ) -> None:
        self.pasting, self.text, self.asking, self.room = pasting, text, asking, room
        self.seed, (self.count, self.first), self.batch_size = seed, batches, batch_size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        first = number < self.first
        prompting = self.asking.prompting
        pictures, texts, learnt_from = [], [], []
        for taken in range(number * self.batch_size, (number + 1) * self.batch_size):
            pasted = self.pasting.picture(taken, _FIRST if first else _THEN)
            asked = np.random.default_rng((_STREAM, self.seed, taken)).integers(len(pasted.names))
            name, box = pasted.names[asked], self.asking.codec.encode(pasted.cells[asked])
            pictures.append(pasted.pixels)
            # Where the name is learnt, a blank stands in front of the end, as released.
            texts.append([prompting.answered(name, box, spaced=first)])
            learnt_from.append(len(prompting.opening(name) if first else prompting.question(name)))
        written = self.text.batch(texts, room=self.room, learnt_from=learnt_from)
        return {"pixels": np.stack(pictures), **written}

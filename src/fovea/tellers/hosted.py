"""Captioners as tellers: as they are, with what was trained beside them, or shown solved examples first."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from fovea.backbones.vocabulary import unknown_words
from fovea.language.box_text import GridCodec

if TYPE_CHECKING:
    from fovea.backbones.host import Host
    from fovea.backbones.peers import Peer
    from fovea.pasting.pictures import Pasting

#: As published.
BEAMS = 3

# Numbers the tellers of a process: the id of a freed object comes again.
_tellers = itertools.count()


class HostTeller:
    """Asks a captioner, which a peer may have joined. Safe to share between threads that use the host no other way.

    Args:
        host: the captioner.
        peer: what is joined to it while it is asked; None asks it as it is.
        beams: of its search for an answer.
        examples: pictures ``(S, S, 3)`` uint8 and solved questions that stand in front of every question.

    Raises:
        ExpressionError: the captioner cannot read so many examples.
    """

    def __init__(
        self,
        host: Host,
        peer: Peer | None = None,
        beams: int = BEAMS,
        examples: Sequence[tuple[np.ndarray, str]] = (),
    ) -> None:
        self.host, self.peer, self.beams, self.examples = host, peer, beams, tuple(examples)
        #: See :class:`fovea.tellers.BoxTeller`.
        self.key: Hashable = ("teller", next(_tellers))
        self._asking = threading.Lock()
        if self.examples:
            host.check_examples([text for _, text in self.examples])

    @property
    def codec(self) -> GridCodec:
        """See :class:`fovea.tellers.BoxTeller`."""
        return self.host.codec if self.peer is None else self.peer.codec

    @property
    def size(self) -> int:
        """See :class:`fovea.tellers.BoxTeller`."""
        return self.host.size

    def unknown_words(self, name: str) -> list[str]:
        """See :class:`fovea.tellers.BoxTeller`."""
        return unknown_words(self.host.tokenizer, name)

    def tell(self, pictures: np.ndarray, names: Sequence[str]) -> list[str]:
        """See :class:`fovea.tellers.BoxTeller`."""
        # What is joined is joined for everybody, and may change how is asked.
        with self._asking, nullcontext() if self.peer is None else self.peer.joined(self.host):
            questions = [self.host.prompting.question(name) for name in names]
            return self.host.answer(pictures, questions, beams=self.beams, examples=self.examples)


def pasted_examples(host: Host, pasting: Pasting, count: int) -> list[tuple[np.ndarray, str]]:
    """Solved questions about pasted pictures: the first ones, one thing of each.

    Args:
        host: who is to read them.
        pasting: makes the pictures, of the host's size and with its cells.
        count: how many.
    """
    rng = np.random.default_rng((pasting.seed, count))
    examples = []
    for number in range(count):
        pasted = pasting.picture(number, (1, 3))
        thing = int(rng.integers(len(pasted.names)))
        box = host.codec.encode(pasted.cells[thing])
        examples.append((pasted.pixels, host.prompting.answered(pasted.names[thing], box)))
    return examples

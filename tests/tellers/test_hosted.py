"""Captioners as tellers, beside a host that writes down what it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fovea.errors import ExpressionError
from fovea.language.box_text import GridCodec, Prompting
from fovea.tellers.hosted import HostTeller, pasted_examples


class WritingHost:
    """Answers with what was joined to it, and keeps what it was asked."""

    prompting, codec, size = Prompting("<image>", "."), GridCodec(cells=4, frame=4), 8

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int, list[str]]] = []
        self.joined = "nothing"

    def check_examples(self, solved: Sequence[str]) -> None:
        if len(solved) > 3:
            raise ExpressionError("too many")

    def answer(
        self,
        pictures: np.ndarray,
        questions: Sequence[str],
        *,
        beams: int = 3,
        examples: Sequence[tuple[np.ndarray, str]] = (),
    ) -> list[str]:
        assert pictures.shape == (len(questions), 8, 8, 3)
        self.asked.append((list(questions), beams, [text for _, text in examples]))
        return [f" {self.joined}"] * len(questions)


class Insert:
    codec = GridCodec(cells=8)

    @contextmanager
    def joined(self, host: Any) -> Iterator[None]:
        host.joined = "an insert"
        yield
        host.joined = "nothing"


class Squares:
    """A pasting of one square per picture, further right in each."""

    seed = 5

    def picture(self, number: int, counts: tuple[int, int]) -> Any:
        assert counts == (1, 3)
        return SimpleNamespace(
            pixels=np.full((8, 8, 3), number, np.uint8), names=(f"square {number}",), cells=((number, 0, number, 1),)
        )


PICTURES = np.zeros((2, 8, 8, 3), np.uint8)


def test_a_host_is_asked_by_name_with_its_peer_joined() -> None:
    host: Any = WritingHost()
    raw, taught = HostTeller(host, beams=1), HostTeller(host, Insert())  # type: ignore[arg-type]
    assert raw.tell(PICTURES, ["cat", "apple"]) == [" nothing"] * 2
    assert taught.tell(PICTURES, ["cat", "apple"]) == [" an insert"] * 2
    assert host.joined == "nothing"
    questions = ["<image>In the image is a cat located at", "<image>In the image is an apple located at"]
    assert host.asked == [(questions, 1, []), (questions, 3, [])]
    assert raw.key != taught.key
    assert (raw.codec, raw.size) == (host.codec, 8)
    # It was trained with another grid.
    assert taught.codec == GridCodec(cells=8)


def test_examples_are_solved_questions() -> None:
    host: Any = WritingHost()
    examples = pasted_examples(host, Squares(), 3)  # type: ignore[arg-type]
    teller = HostTeller(host, examples=examples)
    assert teller.tell(PICTURES[:1], ["cat"]) == [" nothing"]
    ((_, _, solved),) = host.asked
    assert solved == [f"<image>In the image is a square {n} located at [{n},0,{n + 1},2]." for n in range(3)]
    assert [int(pixels.mean()) for pixels, _ in examples] == [0, 1, 2]
    with pytest.raises(ExpressionError, match="too many"):
        HostTeller(host, examples=examples * 2)

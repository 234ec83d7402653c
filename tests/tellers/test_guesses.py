"""Blind guesses: boxes of the right distribution that depend on nothing but seed, picture and name."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.language.box_text import GridCodec
from fovea.tellers.guesses import Guess, RandomTeller

CODEC = GridCodec(cells=16, frame=16)
BLANK = np.zeros((1, 8, 8, 3), np.uint8)


def told(teller: RandomTeller, count: int) -> np.ndarray:
    """``(count, 4)`` boxes in cells: as many different names are asked for."""
    names = [f"thing {number}" for number in range(count)]
    answers = teller.tell(np.repeat(BLANK, count, axis=0), names)
    boxes = [CODEC.decode(answer, (16, 16)) for answer in answers]
    assert None not in boxes
    return np.array(boxes)


@pytest.mark.parametrize("guess", ["pasted", "corners"])
def test_guesses_depend_on_seed_picture_and_name_alone(guess: Guess) -> None:
    teller = RandomTeller(CODEC, 8, seed=3, guess=guess)
    pictures = np.concatenate([BLANK, BLANK + 1, BLANK])
    first = teller.tell(pictures, ["cat", "cat", "dog"])
    assert len(set(first)) == 3
    assert [*teller.tell(pictures[1:], ["cat", "dog"]), *teller.tell(pictures[:1], ["cat"])] == [*first[1:], first[0]]
    assert RandomTeller(CODEC, 8, seed=4, guess=guess).tell(pictures, ["cat", "cat", "dog"]) != first


def test_corners_are_equally_likely() -> None:
    edges = told(RandomTeller(CODEC, 8, guess="corners"), 4000)
    # Of the pairs of 17 edges, those with 0 as the lesser one are 16 of 136; the mean side is (17 + 1) / 3.
    assert (edges[:, 0] == 0).mean() == pytest.approx(16 / 136, abs=0.02)
    assert (edges[:, 2] - edges[:, 0]).mean() == pytest.approx(6, abs=0.2)
    assert (edges[:, 3] - edges[:, 1]).mean() == pytest.approx(6, abs=0.2)


def test_pasted_boxes_have_the_sizes_of_pasted_things() -> None:
    edges = told(RandomTeller(CODEC, 8), 600)
    sides = np.sort(np.stack([edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1]]), axis=0)
    # The longer side of three things is at least 2 cells less one, of one thing at most 16.
    assert sides[1].min() >= 3
    assert sides[1].max() == 16
    # A lone thing is a third of all and larger than others.
    assert 7 < sides[1].mean() < 10

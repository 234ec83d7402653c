"""Batches of regions from the tokens of several data sets (specs/regionspot.md, 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.datasets.region_tokens import PictureTokens, TokenShards
from fovea.errors import DataError
from fovea.training.region_padding import repetition, stack_padded


def split_pictures(count: int, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures to learn from and pictures to measure on, which lie evenly among all: numbers of both, int64.

    Args:
        count: of all pictures.
        held_out: to measure on; at most a tenth of all.
    """
    held = np.linspace(0, count - 1, min(held_out, count // 10)).astype(np.int64)
    return np.setdiff1d(np.arange(count), held), held


def collate(pictures: Sequence[PictureTokens], *, repeat: bool = False) -> dict[str, np.ndarray]:
    """Pictures of one data set as a batch.

    Args:
        pictures: each with a region at least.
        repeat: fill pictures up by repeating their regions, as released, and not with padding.

    Returns:
        ``tokens`` ``(B, N, C)`` float32, ``places`` ``(B, S, W)`` float16, ``labels`` ``(B, N)`` int64 and ``padding``
        ``(B, N)`` bool, True where there is no region.
    """
    longest = max(len(one.labels) for one in pictures)
    rows = [repetition(len(one.labels), longest) if repeat else slice(None) for one in pictures]
    tokens, padding = stack_padded([one.tokens[kept] for one, kept in zip(pictures, rows, strict=True)])
    labels, _ = stack_padded([one.labels[kept] for one, kept in zip(pictures, rows, strict=True)])
    return {
        "tokens": tokens,
        "places": np.stack([one.places for one in pictures]),
        "labels": labels,
        "padding": padding,
    }


class RegionTokenBatches(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    Every batch comes from one data set, whose vocabulary its labels mean; all data sets come equally often, whatever
    their sizes. Pictures are drawn with replacement.

    Args:
        sets: the data.
        pictures: which pictures of each may be drawn.
        steps: how many batches there are.
        batch_size: pictures of a batch.
        seed: of the draws.
        repeat: see :func:`collate`, whose arrays a batch holds, and ``vocabulary``, the number of its data set.

    Raises:
        DataError: a data set has no pictures.
    """

    def __init__(
        self,
        sets: Sequence[TokenShards],
        pictures: Sequence[np.ndarray],
        *,
        steps: int,
        batch_size: int,
        seed: int,
        repeat: bool = False,
    ) -> None:
        self.sets, self.pictures = sets, pictures
        self.steps, self.batch_size, self.seed, self.repeat = steps, batch_size, seed, repeat
        for one, numbers in zip(sets, pictures, strict=True):
            if not len(numbers):
                raise DataError(f"{one.directory} holds no pictures with boxes", "name another source")

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        vocabulary = int(rng.integers(len(self.sets)))
        numbers = rng.choice(self.pictures[vocabulary], self.batch_size)
        drawn = [self.sets[vocabulary][int(number)] for number in numbers]
        return {**collate(drawn, repeat=self.repeat), "vocabulary": np.array(vocabulary)}

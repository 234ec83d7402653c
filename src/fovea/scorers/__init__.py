"""How well do they fit? Scorers fill the matrix of regions and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.pictures import Picture
from fovea.regions import Regions


@dataclass(frozen=True, eq=False)
class Evidence:
    """Pictures that explain a score.

    Attributes:
        title: what they show, such as the name of a visual prompt.
        pictures: ``(R, S, S, 3)`` uint8, one per region, as the model saw them.
    """

    title: str
    pictures: np.ndarray


@dataclass(frozen=True, eq=False)
class Step:
    """A picture of one step of a scorer, and what it shows: ``(H, W, 3)`` uint8."""

    caption: str
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class Trace:
    """How the scores of one text came about, step by step."""

    text: str
    steps: tuple[Step, ...]


class Scorer(Protocol):
    """Fills the matrix of regions and texts."""

    @property
    def needs_masks(self) -> bool:
        """Whether boxes alone do not do."""
        ...

    @property
    def temperature(self) -> float:
        """What a perfect match counts in the logits: divided by it, they are comparable between scorers."""
        ...

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logits of every region and text."""
        ...

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """What the model saw of every region."""
        ...

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """How the scores of every text came about; empty for scorers that have no steps to show."""
        ...

    def notes(self, text: str) -> tuple[str, ...]:
        """What the user should know about a text, such as words that the model has never seen."""
        ...


@runtime_checkable
class Namer(Scorer, Protocol):
    """A scorer that names regions in its own way, and where they have no masks from their boxes alone."""

    @property
    def names_as_written(self) -> bool:
        """Whether names are best given as files write them, with underscores and remarks and no sentence around."""
        ...

    def name(self, picture: Picture, regions: Regions, names: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logits of every region and name."""
        ...

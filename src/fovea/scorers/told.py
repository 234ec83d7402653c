"""What a captioner says passes through: of the region that it names, and of those that come near to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.cache import FeatureCache
from fovea.language.templates import without_article
from fovea.pictures import Picture
from fovea.proposers.told import ToldBoxes
from fovea.regions import Regions, box_iou
from fovea.scorers import Evidence, Step, Trace
from fovea.scorers.cached import unknown_words_note
from fovea.tellers.squashing import squashed

# More of an answer says no more.
_QUOTED = 80


class SaidSo:
    """Scores regions by the box that a captioner says.

    A region that is the very one gets all of an expression; among others, such as given boxes, the share goes by the
    overlap with it. An expression whose answer holds no box fits nothing.

    Args:
        boxes: where the captioner is asked.
    """

    needs_masks = False
    temperature = 1.0

    def __init__(self, boxes: ToldBoxes) -> None:
        self.boxes = boxes

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logarithms of 1 for the region that was named, and of the overlap with it where it is not there.

        Args:
            picture: what is looked at.
            regions: R regions; masks do not matter.
            texts: T expressions or labels.
            cache: keeps what the captioner said.
        """
        values = np.full((len(regions), len(texts)), -np.inf, np.float32)
        notes = []
        told = self.boxes.told(picture, texts, cache)
        for column, (named, said) in enumerate(zip(self.boxes.regions_of(picture, texts, cache), told, strict=True)):
            unread = f"the captioner's answer holds no box: {said.answer.strip()[:_QUOTED]!r}"
            notes.append(() if said.box is not None else (unread,))
            if len(named) and len(regions):
                same = (regions.boxes == named.boxes).all(axis=1)
                fits = same if same.any() else box_iou(regions.boxes, named.boxes)[:, 0]
                values[fits > 0, column] = np.log(fits[fits > 0])
        return ScoreMatrix(values, regions, tuple(texts), tuple(notes))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """The captioner looks at the whole picture: there is nothing to show of a region."""
        return []

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """The picture as the captioner sees it, and what it said."""
        seen = squashed(picture, self.boxes.teller.size)
        return [
            Trace(text, (Step(f"it said:{one.answer}", seen),))
            for text, one in zip(texts, self.boxes.told(picture, texts, cache), strict=True)
        ]

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that the captioner does not know; what else is to be said depends on the picture, see :meth:`score`."""
        return unknown_words_note([self.boxes.teller], without_article(text))

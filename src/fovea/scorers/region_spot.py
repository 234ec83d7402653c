"""RegionSpot as a scorer: names of regions, and expressions among the names of other things (specs/regionspot.md).

The paper names regions. To find what an expression means, a region is asked whether it would rather be called by the
expression or by one of many common names, and the regions share the expression by the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.region_spot import RegionSpotModel
from fovea.backbones.text_bank import Progress
from fovea.cache import FeatureCache
from fovea.heat.pictures import heat_picture
from fovea.language.primary import PrimaryWordFinder
from fovea.language.templates import clean
from fovea.networks.region_spot import Context
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step, Trace
from fovea.scorers.cached import unknown_words_note

#: How names share a region: all of them together, or each for itself, as in training.
Shares = Literal["softmax", "sigmoid"]

# Regions whose attention a page shows for each expression, best first.
_SHOWN = 12

_ARTICLES = ("the", "a", "an")


class RegionSpot:
    """Names regions, and finds expressions among distractors.

    Args:
        model: the three models.
        distractors: names of common things that an expression is measured against.
        finder: says which thing an expression is about: that name is no distractor.
        context: whether regions look at each other.
        shares: how names share a region where an expression is looked for.
    """

    # To find is to show: masks come out of the pass of SAM that makes the tokens. Names need none.
    needs_masks = True
    # Its texts are made from them, as those were that the head was trained with.
    names_as_written = True
    # Logarithms of shares, in nats.
    temperature = 1.0

    def __init__(
        self,
        model: RegionSpotModel,
        distractors: Sequence[str],
        finder: PrimaryWordFinder,
        context: Context = "set",
        shares: Shares = "softmax",
    ) -> None:
        self.model, self.distractors, self.finder = model, tuple(dict.fromkeys(distractors)), finder
        self.context, self.shares = context, shares

    def name(self, picture: Picture, regions: Regions, names: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Temperature times cosine of every region and name, which goes into the templates as it is.

        Args:
            picture: what is looked at.
            regions: R regions; their boxes count.
            names: N names.
            cache: keeps what the models see of the picture, and the vectors of the names.
        """
        values = np.zeros((len(regions), len(names)), np.float32)
        if values.size:
            values = self._logits(picture, regions, self._texts(tuple(names), cache), cache)
        return ScoreMatrix(values, regions, tuple(names))

    def prepare(self, names: Sequence[str], cache: FeatureCache, progress: Progress) -> None:
        """Encode a vocabulary ahead, telling of the progress: with many templates it takes minutes the first time."""
        self._texts(tuple(names), cache, progress)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """The logarithm of every expression's share of every region, among the distractors.

        Args:
            picture: what is looked at.
            regions: R regions; their boxes count.
            texts: T expressions.
            cache: keeps what the models see of the picture, and the vectors of the texts.
        """
        if not len(regions) or not texts:
            return ScoreMatrix(np.zeros((len(regions), len(texts)), np.float32), regions, tuple(texts))
        own, others = self._own_and_others(picture, regions, texts, cache)
        values, notes = np.empty_like(own), []
        for column, text in enumerate(texts):
            rivals, logits = self._rivals(text), own[:, column]
            sigmoid = self.shares == "sigmoid"
            values[:, column] = _log_sigmoid(logits) if sigmoid else _log_share(logits, others[:, rivals])
            best = int(values[:, column].argmax())
            notes.append(self._doubt(text, float(logits[best]), others[best], rivals))
        return ScoreMatrix(values, regions, tuple(texts), tuple(notes))

    def _own_and_others(
        self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits ``(R, T)`` of the expressions and ``(R, D)`` of the distractors."""
        bare = [_bare(text) for text in texts]
        rows = np.concatenate([self._texts((one,), cache) for one in bare])
        own = self._logits(picture, regions, rows, cache)
        return own, self._logits(picture, regions, self._texts(self.distractors, cache), cache)

    def _logits(self, picture: Picture, regions: Regions, rows: np.ndarray, cache: FeatureCache) -> np.ndarray:
        vectors = self.model.vectors(picture, regions.boxes, cache, self.context)
        return np.asarray(self.model.logit_scale * vectors @ rows.T, np.float32)

    def _texts(self, names: tuple[str, ...], cache: FeatureCache, progress: Progress | None = None) -> np.ndarray:
        bank = self.model.bank
        key = ("text-bank", bank.encoder.key, bank.templates, bank.reduce, names)
        return cache.get_or_compute(key, lambda: bank.vectors(names, progress))

    def _rivals(self, text: str) -> list[int]:
        """Distractors but for what the expression is about: "car" is no rival of "red car"."""
        focus = self.finder(text)
        head = "" if focus.primary is None else focus.words[focus.primary]
        about = f" {_bare(text)} "
        # The name must end in the word that the expression is about, as "traffic light" does in "a red traffic light".
        return [
            place
            for place, name in enumerate(self.distractors)
            if not (head and clean(name).split()[-1] == head and f" {clean(name)} " in about)
        ]

    def _doubt(self, text: str, own: float, others: np.ndarray, rivals: list[int]) -> tuple[str, ...]:
        """What to tell of a region that was found although a rival among the names ``(D,)`` fits it better."""
        if not rivals:
            return ()
        rival = max(rivals, key=lambda place: float(others[place]))
        if others[rival] <= own:
            return ()
        return (f"what was found for {text!r} would rather be called {self.distractors[rival]!r}",)

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """Nothing is drawn for a region: where it looks is in :meth:`trace`."""
        return []

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Where the regions look in the head's last layer, best regions first: mean over heads, no class token."""
        if not len(regions):
            return []
        values = self.score(picture, regions, texts, cache).values
        looks = self.model.looks(picture, regions.boxes, cache, self.context)
        traces = []
        for text, column in zip(texts, values.T, strict=True):
            steps = []
            for row in np.argsort(-column, kind="stable")[:_SHOWN].tolist():
                heat = looks[row] / max(float(looks[row].max()), 1e-12)
                caption = f"where region {row} looks: share {np.exp(column[row]):.3f}"
                steps.append(Step(caption, heat_picture(picture.pixels, heat)))
            traces.append(Trace(text, tuple(steps)))
        return traces

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        return unknown_words_note((self.model.places.encoder,), _bare(text))


def _bare(text: str) -> str:
    """An expression as a name: clean, without its article, which the templates bring."""
    words = clean(text).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in _ARTICLES else words)


def _log_share(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``(R,)``: logarithm of the softmax share of ``own`` ``(R,)`` among itself and ``others`` ``(R, D)``."""
    together = np.concatenate([own[:, None], others], axis=1).astype(np.float64)
    top = together.max(axis=1)
    return np.asarray(own - top - np.log(np.exp(together - top[:, None]).sum(axis=1)))


def _log_sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(-np.logaddexp(0, -logits.astype(np.float64)))

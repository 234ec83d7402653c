"""CLIP on marked pictures: the scorer of CPT, ReCLIP, RedCircle and FGVP.

Each region is marked on a copy of the picture, in one or several styles; each copy is embedded by one or several CLIPs;
the logits, temperature times cosine, are summed over styles and CLIPs (specs/fgvp.md, c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.choices import chosen
from fovea.errors import ExpressionError
from fovea.language.templates import fill
from fovea.marks import MarkStyle
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.rules.subtraction import Bank
from fovea.scorers import Evidence, Trace
from fovea.scorers.cached import embed_regions, encode_texts, unknown_words_note
from fovea.scorers.rendering import DirectRendering, Rendering

# Marked pictures that are drawn and embedded together.
_AT_ONCE = 64


#: How the scores of several styles become one.
Aggregate = Literal["sum", "max"]


def known_aggregate(name: str) -> Aggregate:
    """An aggregate by name.

    Raises:
        ExpressionError: there is no such aggregate.
    """
    known: tuple[Aggregate, ...] = get_args(Aggregate)
    error = ExpressionError(f"there is no aggregate called {name!r}", f"known are {', '.join(known)}")
    return chosen(name, known, error)


def style_logits(embeddings: Sequence[np.ndarray], texts: np.ndarray, scale: float) -> np.ndarray:
    """Temperature times cosine for every style of one CLIP.

    Args:
        embeddings: for each of S styles ``(R, D)`` of unit length.
        texts: ``(T, D)`` of unit length, less the mean of a bank where there is one.
        scale: the CLIP's temperature.

    Returns:
        ``(S, R, T)`` float32.
    """
    return np.stack([scale * marked @ texts.T for marked in embeddings]).astype(np.float32)


class MarkedClip:
    """Scores regions by CLIP on marked pictures.

    Args:
        encoders: the CLIPs, summed.
        styles: the visual prompts, summed.
        template: sentence around an expression, with ``{}``.
        rendering: how regions are shown; at the CLIP's own input size by default.
        bank: expressions whose mean is taken off every score; none by default.
        aggregate: how the scores of several styles become one, after those of several CLIPs have been summed.
    """

    def __init__(
        self,
        encoders: Sequence[ClipEncoder],
        styles: Sequence[MarkStyle],
        template: str,
        rendering: Rendering | None = None,
        bank: Bank | None = None,
        aggregate: Aggregate = "sum",
    ) -> None:
        self.encoders = tuple(encoders)
        self.styles = tuple(styles)
        self.template = template
        self.rendering: Rendering = rendering or DirectRendering()
        self.bank = bank
        self.aggregate = aggregate

    @property
    def needs_masks(self) -> bool:
        """Whether one of the styles needs masks."""
        return any(style.needs_masks for style in self.styles)

    @property
    def temperature(self) -> float:
        """What a cosine of 1 counts: temperatures summed over CLIPs, and over visual prompts where these are summed.

        Divided by it, logits are mean cosines, in which each CLIP weighs as its temperature does.
        """
        summed = len(self.styles) if self.aggregate == "sum" else 1
        return summed * sum(encoder.logit_scale for encoder in self.encoders)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logits of every region and text.

        Args:
            picture: what is looked at.
            regions: R regions, with masks where a style needs them.
            texts: T expressions or labels.
            cache: keeps embeddings of marked regions and of texts, so that each is computed once.
        """
        if not len(regions) or not texts:
            return ScoreMatrix(np.zeros((len(regions), len(texts)), np.float32), regions, tuple(texts))
        sentences = [fill(self.template, text) for text in texts]
        # CLIPs are summed before styles are aggregated (specs/fgvp.md, c).
        logits = sum(
            style_logits(
                [self._embed(encoder, style, picture, regions, cache) for style in self.styles],
                encode_texts(encoder, sentences, cache) - self._bank_mean(encoder, cache),
                encoder.logit_scale,
            )
            for encoder in self.encoders
        )
        values = np.sum(logits, axis=0) if self.aggregate == "sum" else np.max(logits, axis=0)
        return ScoreMatrix(values, regions, tuple(texts))

    def _bank_mean(self, encoder: ClipEncoder, cache: FeatureCache) -> np.ndarray:
        """``(D,)``: what the bank takes off. Logits are linear in the text, so that one vector stands for all of it."""
        if self.bank is None:
            return np.zeros(1, np.float32)
        texts = self.bank.texts

        def compute() -> np.ndarray:
            return encode_texts(encoder, [fill(self.template, text) for text in texts], cache).mean(axis=0)

        return cache.get_or_compute(("bank", encoder.key, self.template, self.bank), compute)

    def _embed(
        self, encoder: ClipEncoder, style: MarkStyle, picture: Picture, regions: Regions, cache: FeatureCache
    ) -> np.ndarray:
        """``(R, D)`` embeddings of the marked picture; every region is embedded once, whatever it is asked with."""

        def embed(some: Regions) -> np.ndarray:
            return self.rendering.embed(encoder, picture, some, style, cache)

        shared = ("marked", encoder.key, style, self.rendering.key, picture.key)
        # Marked pictures are large: only some exist at a time.
        return embed_regions(regions, shared, style.needs_masks, embed, cache, _AT_ONCE)

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """Every style as the first CLIP saw it."""
        first = self.encoders[0]
        return [Evidence(style.name, self.rendering.show(first, picture, regions, style)) for style in self.styles]

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Nothing: one look at every region is all."""
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        return unknown_words_note(self.encoders, fill(self.template, text))

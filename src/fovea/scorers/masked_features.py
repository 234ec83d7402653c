"""CLIP on regions as the inside of its picture tower sees them: the scorer of GL-CLIP and of region tokens.

How a region becomes a vector, and how a text does, are two small parts; the scorer multiplies them (specs/iterprime.md,
12).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.clip import ClipEncoder
from fovea.backbones.inner import InnerEncoder, inner_encoders
from fovea.cache import FeatureCache
from fovea.language.parsers import Parser
from fovea.language.parses import Parse
from fovea.language.templates import clean, fill
from fovea.marks.coverage import mask_coverage
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Trace
from fovea.scorers.cached import embed_regions, encode_texts, unknown_words_note

# Regions whose masks exist as planes at a time.
_AT_ONCE = 64


class RegionView(Protocol):
    """From regions to vectors."""

    @property
    def key(self) -> Hashable:
        """Names everything that the vectors depend on, for caches."""
        ...

    def embed(self, inner: InnerEncoder, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """``(R, D)`` float32 of unit length, of R regions with masks."""
        ...

    def show(self, inner: InnerEncoder, picture: Picture, regions: Regions) -> list[Evidence]:
        """What the model sees of R regions."""
        ...


class TextView(Protocol):
    """From texts to vectors."""

    def embed(self, encoder: ClipEncoder, texts: Sequence[str], cache: FeatureCache) -> np.ndarray:
        """``(T, D)`` float32 of unit length."""
        ...

    def sentence(self, text: str) -> str:
        """What the model reads."""
        ...


@dataclass(frozen=True)
class Sentences:
    """A text as a sentence.

    Attributes:
        template: sentence around an expression, with ``{}``.
    """

    template: str = "{}"

    def embed(self, encoder: ClipEncoder, texts: Sequence[str], cache: FeatureCache) -> np.ndarray:
        """See :class:`TextView`."""
        return encode_texts(encoder, list(map(self.sentence, texts)), cache)

    def sentence(self, text: str) -> str:
        """See :class:`TextView`."""
        return fill(self.template, text)


@dataclass(frozen=True)
class SentenceAndPhrase:
    """The whole sentence mixed with the noun phrase that it is about, as GL-CLIP reads texts.

    Both are of unit length before they are mixed; the released program does so for its ResNet and mixes what its vision
    transformer's text tower says as it comes.

    Attributes:
        parser: finds the noun phrase.
        template: sentence around an expression or a phrase, with ``{}``.
        share: of the whole sentence, 0..1.
    """

    parser: Parser
    template: str = "{}"
    share: float = 0.5

    def embed(self, encoder: ClipEncoder, texts: Sequence[str], cache: FeatureCache) -> np.ndarray:
        """See :class:`TextView`."""
        phrases = [noun_phrase(self.parser(clean(text))) or clean(text) for text in texts]
        sentences = [fill(self.template, text) for text in (*texts, *phrases)]
        rows = encode_texts(encoder, sentences, cache)
        return unit_rows(self.share * rows[: len(texts)] + (1 - self.share) * rows[len(texts) :])

    def sentence(self, text: str) -> str:
        """See :class:`TextView`."""
        return fill(self.template, text)


def noun_phrase(parse: Parse) -> str:
    """The noun chunk of the root; of the root's first child where the root lies in none; else nothing."""
    root = next((index for index, head in enumerate(parse.heads) if head == index), None)
    if root is None:
        return ""
    chunk = parse.chunk_of(root)
    if chunk is None and (children := parse.children(root)):
        chunk = parse.chunk_of(children[0])
    return "" if chunk is None else parse.text(range(*chunk))


class MaskedClip:
    """Scores regions by a CLIP that is shown masks on the inside.

    Args:
        encoders: the CLIPs, summed.
        view: how a region becomes a vector.
        texts: how a text does.

    Raises:
        CheckpointError: a CLIP does not allow it.
    """

    needs_masks = True

    def __init__(self, encoders: Sequence[ClipEncoder], view: RegionView, texts: TextView) -> None:
        self.encoders, self.inner = tuple(encoders), inner_encoders(encoders)
        self.view, self.texts = view, texts

    @property
    def temperature(self) -> float:
        """What a cosine of 1 counts: the temperatures of all CLIPs."""
        return sum(encoder.logit_scale for encoder in self.encoders)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Temperature times cosine of every region and text, summed over CLIPs.

        Args:
            picture: what is looked at.
            regions: R regions with masks.
            texts: T expressions or labels.
            cache: keeps embeddings of regions and of texts.

        Raises:
            RegionError: the regions have no masks.
        """
        values = np.zeros((len(regions), len(texts)), np.float32)
        if values.size:
            for inner in self.inner:
                rows = self._embed(inner, picture, regions, cache)
                values += inner.encoder.logit_scale * rows @ self.texts.embed(inner.encoder, texts, cache).T
        return ScoreMatrix(values, regions, tuple(texts))

    def _embed(self, inner: InnerEncoder, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        key = ("masked", inner.encoder.key, self.view.key, picture.key)
        return embed_regions(
            regions, key, True, lambda some: self.view.embed(inner, picture, some, cache), cache, _AT_ONCE
        )

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """What the first CLIP sees."""
        return self.view.show(self.inner[0], picture, regions)

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Nothing: one look at every region is all."""
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        return unknown_words_note(self.encoders, self.texts.sentence(text))


def grid_coverage(regions: Regions, grid: int) -> np.ndarray:
    """Share of every place that masks cover: ``(R, grid, grid)`` float32 in 0..1.

    The released programs sample masks at the places' centres, bilinearly or by the nearest pixel, and lose what lies
    between.
    """
    return mask_coverage(regions.each_mask(), (grid, grid))


def grid_inside(regions: Regions, grid: int) -> np.ndarray:
    """Places that lie in masks, at least by half: ``(R, grid, grid)`` bool.

    A mask that covers no place by half gets those that it covers most; only an empty mask gets none.
    """
    coverage = grid_coverage(regions, grid)
    most = coverage.max((1, 2), keepdims=True)
    return np.asarray((coverage >= np.minimum(0.5, most)) & (coverage > 0))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """``(N, D)`` float32 brought to unit length; zeros stay zeros."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), np.float32)

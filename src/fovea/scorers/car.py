"""CaR: what CLIP's class activation shows, as long as a red circle around it convinces CLIP (specs/iterprime.md, 12).

Each text has a heat map. What is hot is circled in red, and a text that CLIP does not recognise in its own circle is
given up; the others go round again, because a text is recognised against those that are left. Regions are scored by how
well they overlap the heat that remains.

Source: Sun et al., "CLIP as RNN: Segment Countless Visual Concepts without Training Endeavor", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fovea.answers import ScoreMatrix, softmax
from fovea.backbones.clip import ClipEncoder
from fovea.backbones.inner import ActivationEncoder
from fovea.cache import FeatureCache
from fovea.heat.car import affinity, refine
from fovea.heat.pictures import enlarged, heat_picture
from fovea.language.templates import clean, fill
from fovea.marks.styles import MarkOptions, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step, Trace
from fovea.scorers.cached import canvas_of, encode_texts, unknown_words_note

#: What a text has to stand out from, in the released program.
BACKGROUND = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway",
    "railroad", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley", "bridge",
)  # fmt: skip

_CIRCLE = parse_style("C1")

# Logits are what a softmax is taken of; overlaps lie in 0..1. The order of regions does not depend on it.
_SHARPNESS = 20.0


@dataclass(frozen=True)
class CarSettings:
    """The released settings for RefCOCO.

    Attributes:
        template: sentence around a text, with ``{}``.
        background: words that every text stands against in its heat map.
        hot: share of the greatest heat that gives heat to other places, 0..1.
        inside: refined heat above which a place is circled, 0..1.
        compete: texts that are asked together compete, as in the paper, and those that a red circle does not confirm
            are given up; by default each is answered on its own, as the released program does on RefCOCO.
        recognised: share of a softmax over the texts that are left, above which a competing text is kept, 0..1.
    """

    template: str = "a clean origami {}."
    background: tuple[str, ...] = BACKGROUND
    hot: float = 0.5
    inside: float = 0.5
    compete: bool = False
    recognised: float = 0.3


class Car:
    """Scores regions by the heat of texts.

    A text that no place is about, or that is given up where texts compete, gets no logit and is answered with
    ``absent``.

    Args:
        encoders: the CLIPs, summed; each keeps its own texts, and a text that one of them keeps is answered.
        settings: of the method.

    Raises:
        CheckpointError: a CLIP is no vision transformer.
    """

    needs_masks = True

    def __init__(self, encoders: Sequence[ClipEncoder], settings: CarSettings | None = None) -> None:
        self.activations = tuple(map(ActivationEncoder, encoders))
        self.settings = settings or CarSettings()

    @property
    def temperature(self) -> float:
        """What a mask counts that is the heat itself."""
        return _SHARPNESS * len(self.activations)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Overlap of every region with the heat of every text.

        Args:
            picture: what is looked at.
            regions: R regions with masks.
            texts: T expressions or labels.
            cache: keeps heat maps and the embeddings of texts.

        Raises:
            RegionError: the regions have no masks.
        """
        values = np.full((len(regions), len(texts)), -np.inf, np.float32)
        if not values.size:
            return ScoreMatrix(values, regions, tuple(texts))
        # A text must not compete with itself.
        asked = list(dict.fromkeys(map(clean, texts)))
        found = dict.fromkeys(asked, values[:, 0])
        for activation in self.activations:
            maps = self.heat(activation, picture, asked, cache)
            for index in self.surviving(activation.encoder, picture, asked, maps, cache):
                if not maps[index].any():
                    # Nothing is hot: every region would fit equally badly.
                    continue
                before = found[asked[index]]
                heat = enlarged(maps[index], picture.size)
                overlaps = _SHARPNESS * soft_overlaps(regions.each_mask(), heat)
                found[asked[index]] = np.where(np.isfinite(before), before + overlaps, overlaps)
        return ScoreMatrix(np.stack([found[clean(text)] for text in texts], axis=1), regions, tuple(texts))

    def heat(
        self, activation: ActivationEncoder, picture: Picture, texts: Sequence[str], cache: FeatureCache
    ) -> list[np.ndarray]:
        """Refined heat of every text, ``(grid, grid)`` float32 in 0..1; one pass over the picture for all new texts."""
        encoder, settings = activation.encoder, self.settings

        def compute(missing: list[int]) -> list[np.ndarray]:
            wanted = encode_texts(encoder, [fill(settings.template, texts[index]) for index in missing], cache)
            others = encode_texts(encoder, [fill(settings.template, word) for word in settings.background], cache)
            found = activation(canvas_of(encoder, picture, MarkOptions(), cache).base, wanted, others)
            shared = affinity(found.attention)
            return [refine(one, shared, settings.hot) for one in found.maps]

        keys = [("car-heat", encoder.key, settings, picture.key, clean(text)) for text in texts]
        return cache.get_or_compute_many(keys, compute)

    def surviving(
        self, encoder: ClipEncoder, picture: Picture, texts: Sequence[str], maps: Sequence[np.ndarray],
        cache: FeatureCache,
    ) -> list[int]:  # fmt: skip
        """Positions of the texts that are kept: competing ones must be recognised in their own circles."""
        if not self.settings.compete:
            return list(range(len(texts)))
        sentences = [fill(self.settings.template, text) for text in texts]
        shown = encoder.encode_pictures(self._circled(encoder, picture, maps, cache))
        logits = encoder.logit_scale * shown @ encode_texts(encoder, sentences, cache).T
        # A heat map depends on its own text and the background alone, so no round changes it or its circle.
        left = list(range(len(texts)))
        while True:
            own = softmax(logits[np.ix_(left, left)], axis=1).diagonal()
            kept = [left[index] for index in np.flatnonzero(own > self.settings.recognised)]
            kept = kept or [left[int(own.argmax())]]
            if len(kept) == len(left):
                return kept
            left = kept

    def _circled(
        self, encoder: ClipEncoder, picture: Picture, maps: Sequence[np.ndarray], cache: FeatureCache
    ) -> np.ndarray:
        """``(T, S, S, 3)`` uint8: the picture with a red ellipse around what is hot; as it is where nothing is."""
        canvas = canvas_of(encoder, picture, MarkOptions(), cache)
        hot = np.stack([enlarged(one, picture.size) > self.settings.inside for one in maps])
        shown = np.repeat(canvas.base[None], len(maps), axis=0)
        rows = np.flatnonzero(hot.any((1, 2)))
        if len(rows):
            shown[rows] = canvas.draw(Regions.from_masks(hot[rows]), _CIRCLE)
        return shown

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """Regions are compared with heat, not shown: there is none of its own for each."""
        return []

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """The refined heat of every text by the first CLIP."""
        maps = self.heat(self.activations[0], picture, texts, cache)
        return [
            Trace(text, (Step("class activation", heat_picture(picture.pixels, one)),))
            for text, one in zip(texts, maps, strict=True)
        ]

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        encoders = (activation.encoder for activation in self.activations)
        return unknown_words_note(encoders, fill(self.settings.template, text))


def soft_overlaps(masks: Iterable[np.ndarray], heat: np.ndarray) -> np.ndarray:
    """Soft IoU of masks and one heat map: shared heat over all heat and area together.

    Args:
        masks: R of them, ``(H, W)`` bool; read one by one.
        heat: ``(H, W)`` float in 0..1.

    Returns:
        ``(R,)`` float32 in 0..1; for a heat map of zeros and ones, the IoU.
    """
    sums = np.array([(heat[mask].sum(), mask.sum()) for mask in masks], np.float64).reshape(-1, 2)
    shared, areas = sums.T
    union = areas + float(heat.sum()) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0).astype(np.float32)

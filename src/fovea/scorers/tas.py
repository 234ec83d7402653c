"""TAS: CLIP on masked crops, corrected by captions (specs/iterprime.md, 12).

A crop has to fit the expression; so has, with little weight, a caption of the crop; and what else the caption of the
whole picture names counts against it. Expressions of place restrict the choice to a half of the picture.

Source: Suo et al., "Text Augmented Spatial-aware Zero-shot Referring Image Segmentation", EMNLP Findings 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fovea.answers import ScoreMatrix
from fovea.backbones.captioner import Captioner
from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.language.parsers import Parser
from fovea.language.parses import Parse
from fovea.language.primary import head_noun
from fovea.language.templates import clean, fill
from fovea.marks.direct import Canvas, crop_box
from fovea.marks.styles import MarkOptions, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Trace
from fovea.scorers.cached import embed_regions, encode_texts, unknown_words_note

_BLURRED = parse_style("blur_seg")
_AT_ONCE = 64

# Words of place, with the axis and the half that they leave.
_HALVES = {
    word: (axis, sign)
    for words, axis, sign in (
        ("left west leftmost", 0, -1),
        ("right east rightmost", 0, 1),
        ("above north top upper", 1, -1),
        ("below south under bottom lower", 1, 1),
    )
    for word in words.split()
}


@dataclass(frozen=True)
class TasSettings:
    """The released weights.

    Attributes:
        captions: of how well a region's caption fits.
        negatives: of what else the picture shows.
        negative_template: sentence around a thing that the picture shows, with ``{}``.
    """

    captions: float = 0.1
    negatives: float = 0.7
    negative_template: str = "a photo of {}"


class Tas:
    """Scores regions by masked crops and captions.

    Args:
        encoder: the CLIP.
        captioner: writes captions.
        parser: finds the things that a caption names, and what an expression is about.
        settings: of the method.
        template: sentence around an expression, with ``{}``.
    """

    needs_masks = True

    def __init__(
        self,
        encoder: ClipEncoder,
        captioner: Captioner,
        parser: Parser,
        settings: TasSettings | None = None,
        template: str = "{}",
    ) -> None:
        self.encoder, self.captioner, self.parser = encoder, captioner, parser
        self.settings, self.template = settings or TasSettings(), template

    @property
    def temperature(self) -> float:
        """What a cosine of 1 counts."""
        return self.encoder.logit_scale

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Temperature times the corrected cosine of every region and text.

        Args:
            picture: what is looked at.
            regions: R regions with masks.
            texts: T expressions or labels.
            cache: keeps captions and embeddings.

        Raises:
            RegionError: the regions have no masks.
        """
        values = np.zeros((len(regions), len(texts)), np.float32)
        if not values.size:
            return ScoreMatrix(values, regions, tuple(texts))
        crops = self._crops(picture, regions, cache)
        captions = map(self.encoder.shortened, self.captions(picture, regions, cache))
        told = encode_texts(self.encoder, list(captions), cache)
        wanted = encode_texts(self.encoder, [fill(self.template, text) for text in texts], cache)
        values = (crops + self.settings.captions * told) @ wanted.T
        centres = np.concatenate([mask_centres(masks) for masks in regions.mask_chunks()])
        for column, text in enumerate(texts):
            negatives = self.negatives(picture, text, cache)
            if negatives:
                rivals = crops @ encode_texts(self.encoder, negatives, cache).T
                values[:, column] -= self.settings.negatives * rivals.mean(1)
            values[~in_named_half(clean(text), centres), column] = -np.inf
        return ScoreMatrix((self.encoder.logit_scale * values).astype(np.float32), regions, tuple(texts))

    def _crops(self, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """``(R, D)`` of unit length: the masked crops."""

        def embed(some: Regions) -> np.ndarray:
            return self.encoder.encode_pictures(square_crops(picture, some, self.encoder.image_size))

        return embed_regions(regions, ("tas-crop", self.encoder.key, picture.key), True, embed, cache, _AT_ONCE)

    def captions(self, picture: Picture, regions: Regions, cache: FeatureCache) -> list[str]:
        """A caption of every region: its crop, blurred around it."""
        size = (self.captioner.image_size, self.captioner.image_size)

        def compute(missing: list[int]) -> list[str]:
            canvas = Canvas(picture, size, MarkOptions())
            return self.captioner.caption(canvas.draw(regions.select(missing), _BLURRED))

        outlines = [mask["counts"] for mask in regions.masks or ()]
        shared = ("tas-caption", self.captioner.key, picture.key)
        keys = [(*shared, box.tobytes(), outline) for box, outline in zip(regions.boxes, outlines, strict=True)]
        return cache.get_or_compute_many(keys, compute)

    def negatives(self, picture: Picture, text: str, cache: FeatureCache) -> list[str]:
        """Sentences about everything that the picture's caption names and the expression does not mean.

        The released program asks WordNet whether two words mean nearly the same; here it is the same head noun.
        """

        def compute() -> str:
            side = self.captioner.image_size
            whole = np.asarray(picture.image.resize((side, side), Image.Resampling.BICUBIC))
            return self.captioner.caption(whole[None])[0]

        caption = cache.get_or_compute(("tas-caption", self.captioner.key, picture.key), compute)
        if not any(character.isalnum() for character in caption):
            return []
        parse, meant = self.parser(clean(caption)), _head_word(self.parser(clean(text)))
        things = [chunk for chunk in parse.chunks if parse.words[chunk[1] - 1] != meant]
        sentences = [self.settings.negative_template.replace("{}", parse.text(range(*chunk))) for chunk in things]
        return list(map(self.encoder.shortened, sentences))

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """The masked crops."""
        return [Evidence("masked crop", square_crops(picture, regions, self.encoder.image_size))]

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Nothing: one look at every region is all."""
        return []

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        return unknown_words_note([self.encoder], fill(self.template, text))


def _head_word(parse: Parse) -> str:
    head = head_noun(parse)
    return "" if head is None else parse.words[head]


def square_crops(picture: Picture, regions: Regions, side: int) -> np.ndarray:
    """Regions alone, in the middle of a black square: ``(R, side, side, 3)`` uint8."""
    shown = np.zeros((len(regions), side, side, 3), np.uint8)
    for row, (box, mask) in enumerate(zip(regions.boxes.tolist(), regions.each_mask(), strict=True)):
        left, top, right, bottom = (round(value) for value in crop_box(box, picture.size))
        part = picture.pixels[top:bottom, left:right] * mask[top:bottom, left:right, None]
        height, width = part.shape[:2]
        square = np.zeros((max(height, width, 1),) * 2 + (3,), np.uint8)
        down, across = (len(square) - height) // 2, (len(square) - width) // 2
        square[down : down + height, across : across + width] = part
        shown[row] = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))
    return shown


def mask_centres(masks: np.ndarray) -> np.ndarray:
    """Centres of mass of ``(R, H, W)`` bool masks: ``(R, 2)`` float64 xy pixels; NaN for empty ones."""
    areas = masks.sum((1, 2))
    xs = masks.sum(1) @ (np.arange(masks.shape[2]) + 0.5)
    ys = masks.sum(2) @ (np.arange(masks.shape[1]) + 0.5)
    return np.stack([xs, ys], 1) / np.where(areas > 0, areas, np.nan)[:, None]


def in_named_half(text: str, centres: np.ndarray) -> np.ndarray:
    """Regions in the half, or the quarter, of the picture that an expression names: ``(R,)`` bool.

    Halves meet at the medians of the centres. Where the expression names no half, or nothing lies in it, all of them.

    Args:
        text: cleaned.
        centres: ``(R, 2)`` xy pixels.
    """
    kept = np.ones(len(centres), bool)
    medians = np.nanmedian(centres, axis=0) if np.isfinite(centres).any() else np.zeros(2)
    for word in text.split():
        if word in _HALVES:
            axis, sign = _HALVES[word]
            kept &= sign * (centres[:, axis] - medians[axis]) >= 0
    return kept if kept.any() else np.ones(len(centres), bool)

"""Ref-Diff: CLIP on masked crops and on region tokens, and where a diffusion model draws the thing.

The generative part asks a Stable Diffusion where it would draw what the expression is about (specs/iterprime.md, 12).

Source: Ni et al., "Ref-Diff: Zero-shot Referring Image Segmentation with Generative Models", 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from fovea.answers import ScoreMatrix
from fovea.backbones.clip import ClipEncoder
from fovea.backbones.diffusion import StableDiffusion
from fovea.backbones.inner import InnerEncoder
from fovea.cache import FeatureCache
from fovea.heat.car import unit_range
from fovea.heat.pictures import heat_picture
from fovea.language.parsers import Parser
from fovea.language.parses import Parse
from fovea.language.templates import clean, fill
from fovea.marks.direct import Canvas
from fovea.marks.styles import COLOURS, MarkOptions, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step, Trace
from fovea.scorers.cached import canvas_of, embed_regions, encode_texts, unknown_words_note
from fovea.scorers.masked_features import unit_rows
from fovea.scorers.region_token import RegionToken

_CROP = parse_style("ov_seg")
_BLACK = MarkOptions(fill_colour=COLOURS["black"])
_AT_ONCE = 64

# A named side fades to black over this share of the picture's width.
_FADE = 2 / 3


@dataclass(frozen=True)
class RefDiffSettings:
    """The released weights.

    Attributes:
        crops: of masked crops against the sentence.
        tokens: of region tokens against the sentence and its subject.
        generative: of the attention inside of a mask, less the attention outside.
        largest: how many regions are compared, those of the largest masks.
    """

    crops: float = 0.7
    tokens: float = 0.3
    generative: float = 0.05
    largest: int = 10


class RefDiff:
    """Scores regions by a CLIP and a diffusion model.

    Args:
        encoder: the CLIP.
        diffusion: tells where it would draw a word.
        parser: finds the subject of an expression.
        template: sentence around an expression, with ``{}``, for the CLIP.
        settings: of the method.

    Raises:
        CheckpointError: the CLIP's picture tower has no tokens of regions.
    """

    needs_masks = True

    def __init__(
        self,
        encoder: ClipEncoder,
        diffusion: StableDiffusion,
        parser: Parser,
        template: str = "{}",
        settings: RefDiffSettings | None = None,
    ) -> None:
        self.encoder, self.inner, self.diffusion = encoder, InnerEncoder(encoder), diffusion
        self.parser, self.template, self.settings = parser, template, settings or RefDiffSettings()

    @property
    def temperature(self) -> float:
        """What a cosine of 1 counts."""
        return self.encoder.logit_scale

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Temperature times the weighted sum of two cosines and the generative score.

        Args:
            picture: what is looked at.
            regions: R regions with masks; those of small masks get no logit where there are many.
            texts: T expressions or labels.
            cache: keeps embeddings, the picture's latent and attention.

        Raises:
            RegionError: the regions have no masks.
        """
        values = np.full((len(regions), len(texts)), -np.inf, np.float32)
        if values.size:
            rows = largest_masks(regions, self.settings.largest)
            compared, settings = regions.select(rows), self.settings
            tokens = self._tokens(picture, compared, cache)
            for column, text in enumerate(texts):
                sentence, subject = self._sentences(text, cache)
                crops = self._crops(dimmed(picture, clean(text)), compared, cache)
                drawn = contrasts(compared.each_mask(), self.drawn(picture, text, cache))
                fit = settings.crops * crops @ sentence + settings.tokens * tokens @ subject
                values[rows, column] = self.temperature * (fit + settings.generative * drawn)
        return ScoreMatrix(values, regions, tuple(texts))

    def _sentences(self, text: str, cache: FeatureCache) -> tuple[np.ndarray, np.ndarray]:
        """``(D,)`` of unit length: the sentence, and the same mixed with its subject."""
        parse = self.parser(clean(text))
        asked = [fill(self.template, text), fill(self.template, parse.words[subject_of(parse)])]
        sentence, subject = encode_texts(self.encoder, asked, cache)
        return sentence, unit_rows((sentence + subject)[None] / 2)[0]

    def _crops(self, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """``(R, D)`` of unit length: crops of masks, everything else black."""

        def embed(some: Regions) -> np.ndarray:
            canvas = canvas_of(self.encoder, picture, _BLACK, cache)
            return self.encoder.encode_pictures(canvas.draw(some, _CROP))

        return embed_regions(regions, ("ref-diff-crop", self.encoder.key, picture.key), True, embed, cache, _AT_ONCE)

    def _tokens(self, picture: Picture, regions: Regions, cache: FeatureCache) -> np.ndarray:
        """``(R, D)`` of unit length: region tokens, the same as those of the recipe of that name."""
        view = RegionToken()
        key = ("masked", self.encoder.key, view.key, picture.key)
        return embed_regions(
            regions, key, True, lambda some: view.embed(self.inner, picture, some, cache), cache, _AT_ONCE
        )

    def drawn(self, picture: Picture, text: str, cache: FeatureCache) -> np.ndarray:
        """Where the diffusion model would draw what a text is about: ``(H, W)`` float32 in 0..1."""
        parse, model = self.parser(clean(text)), self.diffusion

        def attend() -> np.ndarray:
            latent = cache.get_or_compute(
                ("diffusion-latent", model.key, picture.key),
                lambda: model.encode(on_square(picture.image, model.image_size)),
            )
            return model.attention(latent, " ".join(parse.words), subject_of(parse))

        key = ("diffusion-attention", model.key, picture.key, parse.words, subject_of(parse))
        return off_square(cache.get_or_compute(key, attend), picture.size)

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """The masked crops, before a named side is dimmed."""
        side = self.encoder.image_size
        return [Evidence("masked crop", Canvas(picture, (side, side), _BLACK).draw(regions, _CROP))]

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """The picture as it was dimmed, and where the subject would be drawn."""
        traces = []
        for text in texts:
            parse, shown = self.parser(clean(text)), dimmed(picture, clean(text))
            steps = [Step("as cropped", shown.pixels)] if shown is not picture else []
            where = heat_picture(picture.pixels, self.drawn(picture, text, cache))
            traces.append(Trace(text, (*steps, Step(f"attention to {parse.words[subject_of(parse)]!r}", where))))
        return traces

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know."""
        return unknown_words_note([self.encoder], fill(self.template, text))


def subject_of(parse: Parse) -> int:
    """The first word that is a root or a subject; without any, the first."""
    return next((index for index, dep in enumerate(parse.deps) if dep == "ROOT" or "subj" in dep), 0)


def dimmed(picture: Picture, text: str) -> Picture:
    """A picture that grows dark away from the side that a text names, "left" or "right"; itself where it names none.

    The released program leaves "up" and "down" out, too.
    """
    # What lies at the very side stays as it is; where two thirds are passed, all is black.
    away = (np.arange(picture.width) + 0.5) / picture.width
    words, share = set(text.split()), np.ones(picture.width, np.float32)
    if "left" in words:
        share *= np.clip(1 - away / _FADE, 0, 1)
    if "right" in words:
        share *= np.clip(1 - (1 - away) / _FADE, 0, 1)
    if (share == 1).all():
        return picture
    return Picture(Image.fromarray((picture.pixels * share[:, None] + 0.5).astype(np.uint8)), picture.path)


def largest_masks(regions: Regions, count: int) -> np.ndarray:
    """Indices of the regions with the largest masks, in order; of equals the first.

    Raises:
        RegionError: the regions have no masks.
    """
    if regions.masks is None:
        # Says so.
        regions.dense_masks()
    areas = coco_mask.area(list(regions.masks or ())).astype(np.int64)
    return np.sort(np.argsort(-areas, kind="stable")[:count])


def contrasts(masks: Iterable[np.ndarray], heat: np.ndarray) -> np.ndarray:
    """Mean heat inside less mean heat outside of masks.

    Args:
        masks: R of them, ``(H, W)`` bool; read one by one.
        heat: ``(H, W)`` float.

    Returns:
        ``(R,)`` float64; an inside or an outside that is empty counts 0.
    """
    total, found = float(heat.sum(dtype=np.float64)), []
    for mask in masks:
        inside, area = float(heat[mask].sum(dtype=np.float64)), int(mask.sum())
        found.append(inside / max(area, 1) - (total - inside) / max(mask.size - area, 1))
    return np.array(found)


def on_square(image: Image.Image, side: int) -> np.ndarray:
    """A picture in the middle of a black square: ``(side, side, 3)`` uint8; its longer side fills the square's."""
    left, top, right, bottom = (round(value) for value in _place(image.size, side))
    square = Image.new("RGB", (side, side))
    size = max(1, right - left), max(1, bottom - top)
    square.paste(image.resize(size, Image.Resampling.BICUBIC), (left, top))
    return np.asarray(square)


def off_square(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What a square map ``(g, g)`` says of the picture in its middle, of that width and height.

    Returns:
        ``(H, W)`` float32, bilinear, brought to 0..1.
    """
    whole = Image.fromarray(heat.astype(np.float32))
    return unit_range(np.asarray(whole.resize(size, Image.Resampling.BILINEAR, _place(size, len(heat)))))


def _place(size: tuple[int, int], side: float) -> tuple[float, float, float, float]:
    """Where a picture of some width and height lies in the middle of a square: xyxy in the square's units."""
    across, down = (side * length / max(size) for length in size)
    return (side - across) / 2, (side - down) / 2, (side + across) / 2, (side + down) / 2

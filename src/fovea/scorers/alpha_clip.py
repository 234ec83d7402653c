"""Alpha-CLIP: every region is an alpha map beside the picture, and beside the picture blurred outside of it.

The logits, temperature times cosine, are summed over views and models (specs/alphaclip.md, 9). Regions without masks
are looked at as boxes, and a box around everything is the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fovea.answers import ScoreMatrix
from fovea.backbones.alpha_clip import AlphaEncoder
from fovea.cache import FeatureCache
from fovea.heat.pictures import heat_picture
from fovea.language.templates import fill, with_article
from fovea.marks.direct import Canvas
from fovea.marks.effects import blend
from fovea.marks.styles import MarkOptions, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers import Evidence, Step, Trace
from fovea.scorers.cached import canvas_of, embed_regions, encode_texts, unknown_words_note

#: What stands beside the alpha map: the picture as it is, or blurred outside of the region.
View = Literal["whole", "blurred"]

# Regions that are drawn and embedded together.
_AT_ONCE = 64

# Regions of every text whose attention is shown.
_SHOWN = 3

# Where single heads stand among all, from the first to the last: the paper shows 5 and 16 of 16.
_HEADS = (5 / 16, 1.0)

# The colour of alpha in pictures for people.
_TINT = np.array([255, 120, 0], np.uint8)


class AlphaClip:
    """Scores regions by CLIPs with an alpha plane.

    Args:
        encoders: the CLIPs, summed.
        views: what stands beside the alpha map, summed.
        template: sentence around an expression, with ``{}``.
        options: how the blurred view is made.
    """

    needs_masks = True
    names_as_written = False

    def __init__(
        self,
        encoders: Sequence[AlphaEncoder],
        views: Sequence[View] = ("whole", "blurred"),
        template: str = "a photo of {}",
        options: MarkOptions | None = None,
    ) -> None:
        self.encoders, self.views = tuple(encoders), tuple(views)
        self.template, self.options = template, options or MarkOptions()

    @property
    def temperature(self) -> float:
        """What a cosine of 1 counts, in all views and models together."""
        return len(self.views) * sum(encoder.logit_scale for encoder in self.encoders)

    def score(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logits of every region and text.

        Args:
            picture: what is looked at.
            regions: R regions; without masks their boxes count.
            texts: T expressions or labels.
            cache: keeps embeddings of regions and of texts, so that each is computed once.
        """
        values = np.zeros((len(regions), len(texts)), np.float32)
        sentences = [fill(self.template, text) for text in texts]
        for encoder in self.encoders if values.size else ():
            words = encode_texts(encoder, sentences, cache)
            for view in self.views:
                values += encoder.logit_scale * self._embed(encoder, view, picture, regions, cache) @ words.T
        return ScoreMatrix(values, regions, tuple(texts))

    def name(self, picture: Picture, regions: Regions, names: Sequence[str], cache: FeatureCache) -> ScoreMatrix:
        """Logits of every region and name; boxes are looked at as they are, since a user who draws one means it."""
        matrix = self.score(picture, regions, [with_article(name) for name in names], cache)
        return ScoreMatrix(matrix.values, regions, tuple(names))

    def _embed(
        self, encoder: AlphaEncoder, view: View, picture: Picture, regions: Regions, cache: FeatureCache
    ) -> np.ndarray:
        """``(R, D)`` of unit length; every region is embedded once, whatever it is asked with."""
        canvas = canvas_of(encoder, picture, self.options, cache)

        def embed(some: Regions) -> np.ndarray:
            # All views and all models of one input size share the alpha maps.
            key = ("alpha-maps", picture.key, canvas.size, some.key)
            alphas = cache.get_or_compute(key, lambda: _alphas(canvas, some))
            return encoder.encode_regions(_pictures(canvas, some, view, alphas), alphas)

        return embed_regions(
            regions, ("alpha", encoder.key, view, self.options, picture.key), True, embed, cache, _AT_ONCE
        )

    def evidence(self, picture: Picture, regions: Regions) -> list[Evidence]:
        """Every view as the first model saw it, with the alpha map as a tint."""
        side = self.encoders[0].image_size
        canvas = Canvas(picture, (side, side), self.options)
        shown = []
        for view in self.views:
            alphas = _alphas(canvas, regions) if len(regions) else np.zeros((0, side, side), np.float32)
            pictures = _pictures(canvas, regions, view, alphas)
            tinted = [
                blend(_TINT, seen, alpha[None] / 2)[0]
                for seen, alpha in zip(_each(pictures, alphas), alphas, strict=True)
            ]
            shown.append(Evidence(f"alpha, {view}", np.stack(tinted) if tinted else pictures[:0]))
        return shown

    def trace(self, picture: Picture, regions: Regions, texts: Sequence[str], cache: FeatureCache) -> list[Trace]:
        """Where the class token of the first model looks in the last block, for the regions that fit best."""
        encoder = self.encoders[0]
        scores = self.score(picture, regions, texts, cache).values
        canvas = canvas_of(encoder, picture, self.options, cache)
        traces = []
        for text, column in zip(texts, scores.T, strict=True):
            best = np.argsort(-column, kind="stable")[:_SHOWN]
            shown = regions.select(best)
            alphas = _alphas(canvas, shown)
            attention = encoder.attention(_pictures(canvas, shown, self.views[0], alphas), alphas)
            steps = [
                step for region, heads in zip(best, attention, strict=True) for step in _steps(picture, region, heads)
            ]
            traces.append(Trace(text, tuple(steps)))
        return traces

    def notes(self, text: str) -> tuple[str, ...]:
        """Words that a CLIP with a closed vocabulary does not know, and models that cannot see alpha."""
        blind = [encoder.name for encoder in self.encoders if not encoder.has_trained_alpha]
        ignored = tuple(f"{name} has no trained alpha plane: it ignores all masks" for name in blind)
        return (*ignored, *unknown_words_note(self.encoders, fill(self.template, text)))


def _alphas(canvas: Canvas, regions: Regions) -> np.ndarray:
    """Alpha maps ``(R, S, S)`` float32 in 0..1 of the masks of R regions, or of their boxes."""
    return canvas.box_shapes(regions) if regions.masks is None else canvas.mask_shapes(regions)


def _pictures(canvas: Canvas, regions: Regions, view: View, alphas: np.ndarray) -> np.ndarray:
    """What stands beside the alpha maps: ``(R, S, S, 3)`` uint8, or ``(1, S, S, 3)`` for all of them."""
    if view == "whole":
        return canvas.base[None]
    if regions.masks is None:
        return canvas.draw(regions, parse_style("blur-outside-box"))
    return canvas.draw(regions, parse_style("blur-outside-mask"), alphas)


def _each(pictures: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pictures, (len(alphas), *pictures.shape[1:]))


def _steps(picture: Picture, region: int, attention: np.ndarray) -> list[Step]:
    """The attention ``(heads, grid, grid)`` for one region: the mean over heads, and two heads."""
    single = sorted({max(1, round(share * len(attention))) for share in _HEADS})
    maps = {"mean of the heads": attention.mean(0)} | {f"head {number}": attention[number - 1] for number in single}
    return [
        Step(f"region {region}: attention, {name}", heat_picture(picture.pixels, one / max(one.max(), 1e-9)))
        for name, one in maps.items()
    ]

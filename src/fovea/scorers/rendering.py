"""The two ways to mark pictures for a CLIP: drawn at its own input size, or exactly as the released programs do."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import numpy as np

from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.marks.direct import Canvas
from fovea.marks.parity import clip_inputs, resize_bilinear, scale_frame, square_marks
from fovea.marks.reclip import reclip_inputs, reclip_pictures
from fovea.marks.styles import MarkOptions, MarkStyle, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions
from fovea.scorers.cached import canvas_of


class Rendering(Protocol):
    """Shows regions to a CLIP."""

    @property
    def key(self) -> Hashable:
        """Names everything that the pictures depend on, for caches."""
        ...

    def embed(
        self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle, cache: FeatureCache
    ) -> np.ndarray:
        """Embeddings of R marked pictures: ``(R, D)`` float32 of unit length."""
        ...

    def show(self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle) -> np.ndarray:
        """What the CLIP sees: ``(R, S, S, 3)`` uint8."""
        ...


class DirectRendering:
    """Marks at the model's input size, after one antialiased resample.

    Args:
        options: how marks look.
    """

    def __init__(self, options: MarkOptions | None = None) -> None:
        self.options = options or MarkOptions()

    @property
    def key(self) -> Hashable:
        """See :class:`Rendering`."""
        return ("direct", self.options)

    def embed(
        self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle, cache: FeatureCache
    ) -> np.ndarray:
        """See :class:`Rendering`. All regions, styles and CLIPs of one input size share the picture's effects."""
        canvas, shapes = canvas_of(encoder, picture, self.options, cache), None
        if style.needs_masks and not style.cropped:
            shapes = cache.get_or_compute(
                ("mask-shapes", picture.key, canvas.size, regions.key), lambda: canvas.mask_shapes(regions)
            )
        return encoder.encode_pictures(canvas.draw(regions, style, shapes))

    def show(self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle) -> np.ndarray:
        """See :class:`Rendering`."""
        return Canvas(picture, (encoder.image_size, encoder.image_size), self.options).draw(regions, style)


class ParityRendering:
    """Marks as the released FGVP and ReCLIP programs draw them (specs/fgvp.md, a).

    Masks are taken at the picture's own resolution, as booleans; the released program keeps SAM's logits at 1024 pixels
    where its mask filter is off.

    Args:
        options: how marks look.
        native: styles that ReCLIP draws at the picture's own resolution; released runs draw crops so.
    """

    def __init__(self, options: MarkOptions | None = None, native: tuple[MarkStyle, ...] = (parse_style("P"),)) -> None:
        self.options, self.native = options or MarkOptions(), native

    @property
    def key(self) -> Hashable:
        """See :class:`Rendering`."""
        return ("parity", self.options, self.native)

    def embed(
        self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle, cache: FeatureCache
    ) -> np.ndarray:
        """See :class:`Rendering`. All styles share the scaled picture and masks, all CLIPs the marked pictures."""
        return encoder.encode_pixels(
            self._pixels(picture, regions, style, encoder.image_size, encoder.mean, encoder.std, cache)
        )

    def show(self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle) -> np.ndarray:
        """See :class:`Rendering`."""
        mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
        seen = 255 * self._pixels(picture, regions, style, encoder.image_size, mean, std, FeatureCache())
        return np.asarray((seen.transpose(0, 2, 3, 1) + 0.5).clip(0, 255).astype(np.uint8))

    def _pixels(
        self, picture: Picture, regions: Regions, style: MarkStyle, side: int, mean: np.ndarray, std: np.ndarray,
        cache: FeatureCache,
    ) -> np.ndarray:  # fmt: skip
        """``(R, 3, side, side)`` float32: what a CLIP of that input size and these statistics is shown."""
        if style in self.native:
            pictures = reclip_pictures(picture.image, regions.boxes, style, self.options)
            return reclip_inputs(pictures, side, mean=mean, std=std)
        key = (picture.key, regions.key, self.options, style, mean.tobytes(), std.tobytes())
        marked = cache.get_or_compute(
            ("parity-marks", *key), lambda: self._marked(picture, regions, style, mean, std, cache)
        )
        # Marked at one size, seen at another: the second aliased resampling of the released program.
        return resize_bilinear(marked, (side, side))

    def _marked(
        self, picture: Picture, regions: Regions, style: MarkStyle, mean: np.ndarray, std: np.ndarray,
        cache: FeatureCache,
    ) -> np.ndarray:  # fmt: skip
        """``(R, 3, S, S)`` float32 at the marking size."""
        masks = regions.dense_masks if style.needs_masks else lambda: None
        if style.cropped:
            return clip_inputs(picture.pixels, regions.boxes, masks(), style, self.options, mean=mean, std=std)
        size = self.options.marking_size
        frame = cache.get_or_compute(
            ("parity-frame", picture.key, regions.key, size, style.needs_masks),
            lambda: scale_frame(picture.pixels, regions.boxes, masks(), size),
        )
        return square_marks(frame, style, self.options, mean=mean, std=std)


def resolve_rendering(name: str, options: MarkOptions, native: tuple[MarkStyle, ...]) -> Rendering:
    """A rendering by name.

    Args:
        name: ``direct`` or ``parity``.
        options: how marks look.
        native: for parity, the styles that are drawn at the picture's own resolution.

    Raises:
        ExpressionError: there is no such rendering.
    """
    if name == "direct":
        return DirectRendering(options)
    if name == "parity":
        return ParityRendering(options, native)
    raise ExpressionError(f"there is no rendering called {name!r}", "known are direct and parity")

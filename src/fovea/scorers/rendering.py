"""The two ways to mark pictures for a CLIP: drawn at its own input size, or exactly as the released programs do."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import numpy as np

from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.marks.direct import Canvas
from fovea.marks.parity import clip_inputs, reclip_inputs, reclip_pictures, resize_bilinear
from fovea.marks.styles import MarkOptions, MarkStyle, parse_style
from fovea.pictures import Picture
from fovea.regions import Regions


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
        size = (encoder.image_size, encoder.image_size)
        canvas = cache.get_or_compute(
            ("canvas", picture.key, size, self.options), lambda: Canvas(picture, size, self.options)
        )
        return encoder.encode_pictures(canvas.draw(regions, style))

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
        """See :class:`Rendering`."""
        mean, std = encoder.mean, encoder.std
        if style in self.native:
            pictures = reclip_pictures(picture.image, regions.boxes, style, self.options)
            return encoder.encode_pixels(reclip_inputs(pictures, encoder.image_size, mean=mean, std=std))
        masks = regions.dense_masks() if style.needs_masks else None
        marked = clip_inputs(picture.pixels, regions.boxes, masks, style, self.options, mean=mean, std=std)
        # Marked at one size, seen at another: the second aliased resampling of the released program.
        return encoder.encode_pixels(resize_bilinear(marked, (encoder.image_size, encoder.image_size)))

    def show(self, encoder: ClipEncoder, picture: Picture, regions: Regions, style: MarkStyle) -> np.ndarray:
        """See :class:`Rendering`."""
        zero, one = np.zeros(3), np.ones(3)
        if style in self.native:
            pictures = reclip_pictures(picture.image, regions.boxes, style, self.options)
            seen = reclip_inputs(pictures, encoder.image_size, mean=zero, std=one) * 255
        else:
            masks = regions.dense_masks() if style.needs_masks else None
            seen = clip_inputs(picture.pixels, regions.boxes, masks, style, self.options, mean=zero, std=one) * 255
            seen = resize_bilinear(seen, (encoder.image_size, encoder.image_size))
        return np.asarray((seen.transpose(0, 2, 3, 1) + 0.5).clip(0, 255).astype(np.uint8))


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

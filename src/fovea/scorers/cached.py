"""What every CLIP scorer keeps between questions: a text is embedded once, and so is a region of a picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol

import numpy as np

from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.marks.direct import Canvas
from fovea.marks.styles import MarkOptions
from fovea.pictures import Picture
from fovea.regions import Regions


class Reader(Protocol):
    """Reads texts."""

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that it does not know."""
        ...


def encode_texts(encoder: ClipEncoder, sentences: Sequence[str], cache: FeatureCache) -> np.ndarray:
    """``(T, D)`` float32 of unit length; every sentence is encoded once, new ones together."""

    def compute(missing: list[int]) -> list[np.ndarray]:
        # A row of its own: a view would keep the whole batch alive.
        return [np.array(row) for row in encoder.encode_texts([sentences[i] for i in missing])]

    return np.stack(cache.get_or_compute_many([("text", encoder.key, one) for one in sentences], compute))


def embed_regions(
    regions: Regions,
    key: tuple[Hashable, ...],
    masks_matter: bool,
    embed: Callable[[Regions], np.ndarray],
    cache: FeatureCache,
    at_once: int,
) -> np.ndarray:
    """Embed every region once, whatever it is asked with.

    Args:
        regions: R regions, at least one.
        key: names everything but the region that an embedding depends on: picture, model, settings.
        masks_matter: whether the embedding depends on masks; a box may get its mask later.
        embed: from some regions to their embeddings.
        cache: keeps them.
        at_once: most regions that are embedded together.

    Returns:
        ``(R, D)``.
    """

    def compute(missing: list[int]) -> list[np.ndarray]:
        rows: list[np.ndarray] = []
        for start in range(0, len(missing), at_once):
            rows += map(np.array, embed(regions.select(missing[start : start + at_once])))
        return rows

    outlines: Iterable[bytes] = [b""] * len(regions)
    if masks_matter and regions.masks is not None:
        outlines = [mask["counts"] for mask in regions.masks]
    keys = [(*key, box.tobytes(), outline) for box, outline in zip(regions.boxes, outlines, strict=True)]
    return np.stack(cache.get_or_compute_many(keys, compute))


def canvas_of(encoder: ClipEncoder, picture: Picture, options: MarkOptions, cache: FeatureCache) -> Canvas:
    """The picture at the input size of a CLIP; every scorer that draws on it or looks at it shares it."""
    size = (encoder.image_size, encoder.image_size)
    return cache.get_or_compute(("canvas", picture.key, size, options), lambda: Canvas(picture, size, options))


def unknown_words_note(models: Iterable[Reader], sentence: str) -> tuple[str, ...]:
    """What to tell the user of words that a model with a closed vocabulary does not know."""
    unknown = dict.fromkeys(word for model in models for word in model.unknown_words(sentence))
    if not unknown:
        return ()
    return (f"the embedded models do not know {', '.join(map(repr, unknown))} and guess from the other words",)

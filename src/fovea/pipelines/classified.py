"""Classified pictures to described regions, in two passes (specs/alphaclip.md, 8).

The first finds what could be of the class and scores it. Which are the best of their class is known only when all are
scored; the second keeps these and describes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fovea.backbones.captioner import Captioner
from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.datasets.region_texts import DescribedPicture, RegionText
from fovea.pictures import Picture, open_picture
from fovea.pipelines.captions import caption_with_class, photo_of, question_about
from fovea.pipelines.cut_outs import cut_out
from fovea.pipelines.records import Candidate, Classified, Skipped
from fovea.proposers import Proposer
from fovea.regions import Regions, Rle, decode_masks, mask_bounds, rle_from_json, rle_to_json

# Regions of another share of the picture are specks, or all of it.
_LEAST, _MOST = 0.002, 0.95


def score_classified(
    key: str, content: Classified, finder: Proposer, clips: Sequence[ClipEncoder], per_picture: int
) -> DescribedPicture:
    """Find what could be of a picture's class.

    Args:
        key: of the result.
        content: the picture and its class.
        finder: proposes regions with masks.
        clips: score them; their cosines are averaged.
        per_picture: how many candidates a picture has at most.

    Returns:
        The picture with its best candidates, the best first: their texts are the name of the class, their scores the
        cosine between the object on white and "a photo of NAME", from 0 on.

    Raises:
        Skipped: nothing stands out.
    """
    upright = content.upright
    found = finder.propose(upright.picture, FeatureCache(0))
    found = found.select(_sensible(found))
    if not len(found):
        raise Skipped("nothing stands out")
    scores = np.mean([_cosines(clip, upright.picture, found, photo_of(content.name)) for clip in clips], axis=0)
    best = np.argsort(-scores, kind="stable")[:per_picture]
    masks, boxes = found.masks or (), found.boxes.tolist()
    regions = tuple(
        RegionText(content.name, rle_to_json(masks[row]), tuple(boxes[row]), round(max(0.0, float(scores[row])), 6))
        for row in best
    )
    return DescribedPicture(key, upright.data, upright.suffix, photo_of(content.name), regions)


def _sensible(found: Regions) -> np.ndarray:
    from pycocotools import mask as coco_mask

    share = np.asarray(coco_mask.area(list(found.masks or ()))) / (found.size[0] * found.size[1])
    return np.flatnonzero((share >= _LEAST) & (share <= _MOST))


def _cosines(clip: ClipEncoder, picture: Picture, found: Regions, text: str) -> np.ndarray:
    pictures = _on_white(picture, found.masks or (), clip.image_size)
    return np.asarray(clip.encode_pictures(pictures) @ clip.encode_texts([text])[0])


def _on_white(picture: Picture, masks: Sequence[Rle], side: int) -> np.ndarray:
    """``(N, side, side, 3)`` uint8. Masks are decoded one by one: many of a large picture would fill the memory."""

    def pictures() -> Iterator[np.ndarray]:
        for rle in masks:
            mask = decode_masks([rle])
            x1, y1, x2, y2 = mask_bounds(mask)[0].tolist()
            yield cut_out(picture, mask[0], (x1, y1, x2, y2), side)

    return np.stack(list(pictures()))


@dataclass(frozen=True)
class Ranking:
    """Which candidates are kept.

    Attributes:
        share: of the candidates of every class, the best, at least one.
        min_score: those with a lower score are dropped whatever their rank.
    """

    share: float = 0.5
    min_score: float = 0.0

    def thresholds(self, scores: Iterable[tuple[str, float]]) -> dict[str, float]:
        """The score from which on candidates of every class are kept.

        Args:
            scores: class and score of every candidate.
        """
        by_class: dict[str, list[float]] = {}
        for name, score in scores:
            by_class.setdefault(name, []).append(score)
        return {name: max(self.min_score, self._last(values)) for name, values in by_class.items()}

    def _last(self, scores: list[float]) -> float:
        """The lowest score that the share leaves."""
        kept = max(1, math.ceil(self.share * len(scores)))
        return sorted(scores, reverse=True)[kept - 1]


def describe_candidate(
    content: Candidate, thresholds: Mapping[str, float], captioner: Captioner | None
) -> DescribedPicture:
    """Keep the candidates that are among the best of their class, and say what they are.

    Args:
        content: what :func:`score_classified` made.
        thresholds: see :meth:`Ranking.thresholds`.
        captioner: writes about each object on white; None for texts that name the class and no more.

    Raises:
        Skipped: no candidate is kept.
    """
    described = content.described
    kept = [region for region in described.regions if region.score >= thresholds.get(region.text, math.inf)]
    if not kept:
        raise Skipped("its regions are not among the best of their class")
    if captioner is None:
        texts = [photo_of(region.text) for region in kept]
    else:
        masks = [rle_from_json(region.mask) for region in kept]
        pictures = _on_white(open_picture(described.picture), masks, captioner.image_size)
        written = captioner.caption(pictures, question_about(kept[0].text))
        texts = [caption_with_class(text, region.text) for text, region in zip(written, kept, strict=True)]
    regions = tuple(replace(region, text=text) for region, text in zip(kept, texts, strict=True))
    return replace(described, regions=regions)

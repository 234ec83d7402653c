"""From a heat map to a mask: the proposal that holds the peak and is hot all over (specs/iterprime.md, 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from fovea.errors import RegionError

#: What a mask was chosen by: both tests; the peak alone; the mean heat alone; no proposal, so the heat itself; nothing.
Chosen = Literal["tests", "peak", "heat", "threshold", "none"]

# Keeps an empty mask from dividing by zero; among masks of equal heat it lets the largest win.
_AREA_EPSILON = 1e-5


@dataclass(frozen=True)
class SelectionSettings:
    """The tests that a mask must pass.

    Attributes:
        most_components: masks in more pieces are noise (kappa in the paper); pieces touch along edges.
        peak_ratio: pixels with at least this share of the greatest heat are peaks; 1 for the greatest only.
        strict: where no mask passes, choose none, as the released program does.
        threshold: share of the greatest heat above which a pixel belongs to the mask where there is no proposal at all.
    """

    most_components: int = 12
    peak_ratio: float = 1.0
    strict: bool = False
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen mask.

    Attributes:
        region: its index among the proposals, or None where it is none of them.
        mask: ``(H, W)`` bool; empty where nothing is chosen.
        scores: ``(N,)`` float64, about 1 + the mean heat inside; 0 for masks that were not compared.
        kept: ``(N,)`` bool, which masks were compared.
        by: how it was chosen, for the evidence.
    """

    region: int | None
    mask: np.ndarray
    scores: np.ndarray
    kept: np.ndarray
    by: Chosen


@dataclass(frozen=True, eq=False)
class Tested:
    """What the tests say of N masks.

    Attributes:
        hit: ``(N,)`` bool, they hold a peak.
        whole: ``(N,)`` bool, they hold one and are not in too many pieces.
        filled: ``(N,)`` bool, they are not empty.
    """

    hit: np.ndarray
    whole: np.ndarray
    filled: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Tested]) -> Tested:
        """The tests of several lots of masks, at least one."""
        return cls(*(np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(cls)))


def peak_pixels(heat: np.ndarray, ratio: float = 1.0) -> np.ndarray:
    """``(K, 2)`` rows and columns of the peaks of a ``(H, W)`` heat map; several where the greatest value recurs."""
    return np.argwhere(heat >= ratio * heat.max())


def count_components(mask: np.ndarray) -> int:
    """How many pieces a ``(H, W)`` bool mask has; pixels that touch at a corner only lie apart."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0
    return int(ndimage.label(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])[1])


def heat_scores(masks: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """``(N,)`` float64, ``(area + heat inside) / (area + 1e-5)`` of ``(N, H, W)`` bool masks."""
    inside = np.array([heat[mask].sum(dtype=np.float64) for mask in masks])
    areas = masks.sum((1, 2), dtype=np.float64)
    return np.asarray((areas + inside.reshape(areas.shape)) / (areas + _AREA_EPSILON))


def run_tests(masks: np.ndarray, heat: np.ndarray, settings: SelectionSettings) -> Tested:
    """What the tests say of masks; arguments as of :func:`select_mask`, and the masks may be some of many.

    Raises:
        RegionError: sizes differ, or the heat holds values that are not finite.
    """
    _check(masks, heat)
    rows, columns = peak_pixels(heat, settings.peak_ratio).T
    hit = np.asarray(masks[:, rows, columns].any(1))
    # Labelling costs a hundred times more than a look at the peaks, and few masks hold one.
    whole = hit.copy()
    for index in np.flatnonzero(hit):
        whole[index] = count_components(masks[index]) <= settings.most_components
    return Tested(hit, whole, np.asarray(masks.any((1, 2))))


def kept_masks(tests: Tested, settings: SelectionSettings, taken: Collection[int] = ()) -> tuple[np.ndarray, Chosen]:
    """The masks to compare, ``(N,)`` bool, and by which tests; ``none`` where there are none."""
    free = np.ones(len(tests.hit), bool)
    free[[index for index in taken if 0 <= index < len(free)]] = False
    levels: list[tuple[Chosen, np.ndarray]] = [("tests", tests.whole), ("peak", tests.hit), ("heat", tests.filled)]
    for by, passed in levels[:1] if settings.strict else levels:
        if (free & passed).any():
            return free & passed, by
    return np.zeros(len(free), bool), "none"


def select_mask(
    masks: np.ndarray,
    heat: np.ndarray,
    settings: SelectionSettings | None = None,
    taken: Collection[int] = (),
) -> Selection:
    """Choose the mask that a heat map points at.

    A mask must hold a peak and must not be in too many pieces; the greatest mean heat wins, the first of equals. Where
    none passes, the released program answers with an empty mask. Unless ``strict`` asks for that, the tests are given
    up one after the other here: first the pieces, then the peak; without any proposal the heat itself is thresholded.

    Args:
        masks: ``(N, H, W)`` bool proposals; N may be 0.
        heat: ``(H, W)`` float, finite, of the masks' size; 0..1 after min-max.
        settings: the tests.
        taken: indices that are chosen already and must not be chosen again.

    Returns:
        The mask and how it was chosen.

    Raises:
        RegionError: sizes differ, or the heat holds values that are not finite.
    """
    settings = settings or SelectionSettings()
    kept, by = kept_masks(run_tests(masks, heat, settings), settings, taken)
    if by == "none" and not taken and not settings.strict:
        return _thresholded(masks, heat, settings.threshold)
    return _best(masks, heat, kept, by)


def _check(masks: np.ndarray, heat: np.ndarray) -> None:
    if masks.ndim != 3 or masks.dtype != bool or heat.ndim != 2 or masks.shape[1:] != heat.shape or heat.size == 0:
        raise RegionError(
            f"masks {masks.dtype} {masks.shape} do not go with a heat map {heat.shape}",
            "give boolean masks of its height and width",
        )
    if not np.isfinite(heat).all():
        raise RegionError("the heat map holds values that are not finite", "are the model's weights damaged?")


def _best(masks: np.ndarray, heat: np.ndarray, kept: np.ndarray, by: Chosen) -> Selection:
    scores = np.zeros(len(masks))
    scores[kept] = heat_scores(masks[kept], heat)
    if by == "none":
        return Selection(None, np.zeros(heat.shape, bool), scores, kept, by)
    # Heat may be negative: what was not compared must not win with its 0.
    region = int(np.where(kept, scores, -np.inf).argmax())
    return Selection(region, masks[region], scores, kept, by)


def _thresholded(masks: np.ndarray, heat: np.ndarray, threshold: float) -> Selection:
    top = float(heat.max())
    mask = heat >= threshold * top if top > 0 else np.zeros(heat.shape, bool)
    nothing = np.zeros(len(masks), bool)
    return Selection(None, mask, np.zeros(len(masks)), nothing, "threshold" if top > 0 else "none")

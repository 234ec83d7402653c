"""From a matrix of regions and names to ranked detections, as average precision takes them (specs/regionspot.md, 8).

One region may be called by many names: every pair of a region and a name is a detection. The paper keeps 900 pairs per
picture, and its evaluator the best 300 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fovea.answers import softmax


@dataclass(frozen=True)
class Ranking:
    """How pairs are scored and which are kept.

    Attributes:
        shares: ``softmax`` over the names of a region; ``sigmoid`` of every pair on its own, as in training.
        top: most pairs that are kept.
        fused: when a detector's score counts: ``after`` the pairs were cut by the names' shares alone, so that a pair
            of a sure box may already be gone; or ``before``.
        fusion: ``product`` of share and detector's score, or ``geometric``, the root of it.
        single_label: only the best name of every region.
    """

    shares: Literal["softmax", "sigmoid"] = "softmax"
    top: int = 900
    fused: Literal["after", "before"] = "after"
    fusion: Literal["product", "geometric"] = "product"
    single_label: bool = False


#: By the name of the protocol. That of the paper, and the one of tables in which a region has one name.
RANKINGS = {"paper": Ranking(), "single-label": Ranking(single_label=True)}


@dataclass(frozen=True, eq=False)
class Ranked:
    """K detections of one picture.

    Attributes:
        regions: ``(K,)`` int64, which region each is of: its box and mask are the region's and need no copies.
        labels: ``(K,)`` int64, columns of the matrix.
        scores: ``(K,)`` float32, 0..1.
    """

    regions: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def rank(
    logits: np.ndarray, boxes: np.ndarray, box_scores: np.ndarray | None = None, ranking: Ranking = RANKINGS["paper"]
) -> Ranked:
    """Rank all pairs of a region and a name.

    Args:
        logits: ``(N, C)`` of N regions and C names; a pair whose logit is not finite is none.
        boxes: ``(N, 4)`` xyxy pixels, already inside of the picture. Pairs of boxes without area take part in the
            cut, as in the released program, and are dropped behind it.
        box_scores: ``(N,)`` of a detector, 0..1; none for annotated boxes.
        ranking: how pairs are scored and which are kept.

    Returns:
        Detections in the order in which they were cut: by their scores, but where scores are fused behind the cut.
    """
    shares = softmax(logits, axis=1) if ranking.shares == "softmax" else _sigmoid(logits)
    # As the released program compares them: in single precision there are more equals.
    shares = np.where(np.isfinite(logits), shares, 0).astype(np.float32)
    fused = shares if box_scores is None else _fuse(shares, np.asarray(box_scores, np.float32), ranking)
    compared = fused if ranking.fused == "before" else shares
    if ranking.single_label and compared.size:
        best = compared.argmax(axis=1)
        pairs = np.arange(len(compared)) * compared.shape[1] + best
        order = pairs[np.argsort(-compared.ravel()[pairs], kind="stable")]
    else:
        order = np.argsort(-compared, axis=None, kind="stable")
    kept = order[: ranking.top]
    regions, labels = np.divmod(kept, max(1, logits.shape[1]))
    solid = has_area(boxes)[regions] & np.isfinite(logits[regions, labels])
    return Ranked(regions[solid], labels[solid], fused.ravel()[kept][solid])


def has_area(boxes: np.ndarray) -> np.ndarray:
    """``(N,)`` bool: whether boxes ``(N, 4)`` are wider and higher than nothing."""
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def _fuse(shares: np.ndarray, scores: np.ndarray, ranking: Ranking) -> np.ndarray:
    product = shares * scores[:, None]
    return np.asarray(np.sqrt(product) if ranking.fusion == "geometric" else product)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))))

"""The sigmoid focal loss of regions against a vocabulary (specs/regionspot.md, 6)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

#: How the losses of regions become one. ``mean`` is over a picture's true regions, then over pictures; ``upstream`` is
#: over all rows of a picture, padding as well, and then a sum over pictures: with equal pictures without padding it
#: is ``mean`` times their number.
Reduction = Literal["mean", "upstream"]

#: As released: how much a right class weighs against the wrong ones, and how little easy ones count.
ALPHA, GAMMA = 0.25, 2.0


def focal_terms(logits: Tensor, targets: Tensor, alpha: float = ALPHA, gamma: float = GAMMA) -> Tensor:
    """The focal loss of every logit on its own: ``alpha_t (1 - p_t)^gamma`` times the cross-entropy.

    Args:
        logits: of any shape.
        targets: 0 or 1, of the same shape and type.
        alpha: weight of what is 1, and ``1 - alpha`` of what is 0; below 0 for no weights.
        gamma: 0 for plain cross-entropy.

    Returns:
        As the logits.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    shares = logits.sigmoid()
    wrong = shares * (1 - targets) + (1 - shares) * targets
    terms = entropy * wrong**gamma
    return terms if alpha < 0 else terms * (alpha * targets + (1 - alpha) * (1 - targets))


def region_loss(
    logits: Tensor,
    labels: Tensor,
    padding: Tensor | None = None,
    *,
    alpha: float = ALPHA,
    gamma: float = GAMMA,
    reduction: Reduction = "mean",
) -> Tensor:
    """The loss of the regions of some pictures: all classes but the right one are wrong.

    Args:
        logits: ``(B, N, C)``.
        labels: ``(B, N)`` int64, 0-based classes; anything below C where there is padding.
        padding: ``(B, N)`` bool, True where there is no region; none by default.
        alpha: see :func:`focal_terms`.
        gamma: see :func:`focal_terms`.
        reduction: see :data:`Reduction`. Under ``upstream`` padding counts like regions: it is meant for pictures that
            were filled up with :func:`fovea.training.region_padding.repetition`.

    Returns:
        A scalar; sums are over classes in both reductions. Pictures without a region count as nothing in ``mean``.
    """
    targets = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    of_regions = focal_terms(logits, targets, alpha, gamma).sum(-1)
    if reduction == "upstream":
        return of_regions.mean(1).sum()
    true = torch.ones_like(labels, dtype=torch.bool) if padding is None else ~padding
    count = true.sum(1)
    of_pictures = of_regions.masked_fill(~true, 0).sum(1) / count.clamp(min=1)
    return of_pictures.sum() / (count > 0).sum().clamp(min=1)

"""Places, extremes, ordinals and relations as graded conditions: the default dialect of the relation rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fovea.language.phrases import Extreme, Ordinal, Phrase, Place, Related
from fovea.rules.graded import Layout, ranked, sigmoid

#: From a text to the logits of the regions: ``(N,)``, the mean over all visual prompts and CLIPs.
Logits = Callable[[str], np.ndarray]

# A region counts as one of its kind where its logit comes this near to the best one's: the cosines of CLIPs differ by
# about 0.05 between right and wrong names, at a temperature of 100.
_MEMBER_GAP = 5.5
_MEMBER_SOFTNESS = 1.0
# Among regions that meet all conditions alike, looks decide: this share of their logits is added.
_LOOKS = 0.1


def share_phrase(phrase: Phrase, layout: Layout, logits: Logits, sharpness: float = 1.0) -> np.ndarray:
    """How the regions share a phrase.

    Without conditions looks alone decide. With some, looks say which regions are of the kind at all, places and
    relations which of those count, and extremes and ordinals pick from these.

    Args:
        phrase: what is meant.
        layout: of the N regions.
        logits: how well the regions fit a text.
        sharpness: factor of the logits where looks alone decide.

    Returns:
        ``(N,)`` float64 that adds up to 1.
    """
    values = logits(phrase.text) if phrase.text else np.zeros(len(layout))
    values = values - values.max(initial=-np.inf)
    if not phrase.conditions:
        return _shares(np.exp(sharpness * values))
    found = sigmoid((values + _MEMBER_GAP) / _MEMBER_SOFTNESS)
    for condition in phrase.conditions:
        if isinstance(condition, Place):
            found = found * layout.at(condition.sides)
        elif isinstance(condition, Related):
            found = found * _related(condition, layout, logits, sharpness)
    for condition in phrase.conditions:
        if isinstance(condition, Extreme | Ordinal):
            found = _pick(condition, layout, found / max(found.max(initial=0.0), 1e-300))
    return _shares(found * np.exp(_LOOKS * values))


def _shares(found: np.ndarray) -> np.ndarray:
    total = found.sum()
    return np.asarray(found / total) if total > 0 else np.full(len(found), 1 / max(1, len(found)))


def _related(related: Related, layout: Layout, logits: Logits, sharpness: float) -> np.ndarray:
    others = [share_phrase(other, layout, logits, sharpness) for other in related.others]
    if related.relation == "between":
        # "between the cars": both ends look alike.
        return layout.between(others[0], others[-1])
    return np.asarray(layout.related(related.relation) @ others[0])


def _pick(condition: Extreme | Ordinal, layout: Layout, members: np.ndarray) -> np.ndarray:
    if isinstance(condition, Extreme):
        return ranked(members, layout.beyond(condition.along).T, 1)
    ahead = layout.beyond(condition.side)
    if condition.rank > 0:
        # Counted from a side, who is nearer to it comes first.
        return ranked(members, ahead.T, condition.rank)
    return ranked(members, ahead, -condition.rank)

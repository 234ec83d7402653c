"""Relations and superlatives as ReCLIP applies them, to the letter (specs/fgvp.md, d)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fovea.answers import softmax
from fovea.language.entities import Entity, Relation, main_entity
from fovea.language.keywords import Keywords, first_row
from fovea.language.parses import Parse
from fovea.regions import box_areas
from fovea.rules.strict import relation_table

#: From a text to how the regions share it: ``(N,)`` float64 that adds up to 1.
Shares = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Softness:
    """How logits become shares (specs/fgvp.md, c).

    Attributes:
        sigmoid: a logistic function of their z-scores over the regions, instead of a softmax.
        temperature: factor of the z-scores; the softmax ignores it.
    """

    sigmoid: bool = False
    temperature: float = 1.0


def softened(logits: np.ndarray, softness: Softness) -> np.ndarray:
    """``(N,)`` logits as shares. A softmax adds up to 1, the sigmoid does not."""
    if not softness.sigmoid:
        return softmax(logits, axis=0)
    values = np.asarray(logits, np.float64)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return np.asarray(1 / (1 + np.exp(-softness.temperature * (values - values.mean()) / (spread + 1e-9))))


@dataclass(frozen=True)
class ReclipRules:
    """The relation rules of ReCLIP and of FGVP's ``R``.

    Attributes:
        keywords: the words that count.
        always: read also what holds no word of place or size.
        min_area: a box with no greater share of the picture, 0..1, gets nothing, unless none is greater. Zero-area
            boxes vanish by it even at 0.
    """

    keywords: Keywords = field(default_factory=Keywords)
    always: bool = False
    min_area: float = 0.0

    def apply(
        self,
        text: str,
        parse: Parse,
        boxes: np.ndarray,
        size: tuple[int, int],
        shares: Shares,
        parts: Shares | None = None,
    ) -> np.ndarray:
        """How the regions share an expression.

        Args:
            text: the whole expression.
            parse: of it.
            boxes: ``(N, 4)`` xyxy pixels.
            size: of the picture, width and height in pixels.
            shares: how the regions share the whole expression, before rules.
            parts: how they share what it speaks of, such as "the dog"; the same by default.

        Returns:
            ``(N,)`` float64. Not normalised, since only its order counts. NaN where the rules leave nothing, as in
            the original. A single region gets all.
        """
        if len(boxes) < 2:
            return np.ones(len(boxes))
        parts = parts or shares
        kept = box_areas(boxes) / (size[0] * size[1]) > self.min_area

        def large_only(found: np.ndarray) -> np.ndarray:
            return _normalised(np.where(kept, found, 0.0)) if kept.any() and not kept.all() else found

        whole = large_only(shares(text))
        worth_it = self.always or any(word in self.keywords.of_place_or_size for word in parse.words)
        entity = main_entity(parse, self.keywords) if worth_it else None
        return (
            whole
            if entity is None
            else whole * self._entity(entity, parse, boxes, lambda part: large_only(parts(part)), parts)
        )

    def _entity(self, entity: Entity, parse: Parse, boxes: np.ndarray, shares: Shares, others: Shares) -> np.ndarray:
        """How the regions share a thing; ``others`` says how they share the things it relates to."""
        words: list[int] = list(range(*entity.chunk))
        factors: list[np.ndarray] = []
        for relation in entity.relations:
            name = first_row((parse.words[word] for word in relation.words), self.keywords.relations)
            if name is None:
                words = _with_possessive(parse, entity, relation)
            else:
                factors.append(relation_table(boxes, name) @ self._entity(relation.other, parse, boxes, others, others))
        found = shares(parse.text(words))
        for factor in factors:
            found = _normalised(found * factor)
        for superlative in entity.superlatives:
            name = first_row((parse.words[word] for word in superlative), self.keywords.superlatives)
            if name is not None:
                found = _normalised(found * (relation_table(boxes, name) @ found))
        return found


def _with_possessive(parse: Parse, entity: Entity, relation: Relation) -> list[int]:
    """The words of "the man with a hat": the chunk, the way up from the other thing, and all that belongs to it.

    Several such relations replace each other, in the original as well.
    """
    head = relation.other.chunk[1] - 1
    words = set(range(*entity.chunk)) | set(parse.subtree(head))
    while parse.heads[head] != head:
        head = parse.heads[head]
        words.add(head)
    return sorted(words)


def _normalised(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / values.sum())

"""The words that say where and how large, as ReCLIP's tables have them (specs/fgvp.md, d)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property


def _rows(**rows: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in rows.items()}


#: Relations between two things; the first row with a matching word wins.
RELATIONS = _rows(
    left="left west",
    right="right east",
    above="above north top back behind",
    below="below south under front",
    bigger="bigger larger closer",
    smaller="smaller tinier further",
    inside="inside within contained",
)

#: What one thing is among all; the first row with a matching word wins.
SUPERLATIVES = _rows(
    left="left west leftmost western",
    right="right rightmost east eastern",
    above="above north top",
    below="below south underneath front",
    bigger="bigger biggest larger largest closer closest",
    smaller="smaller smallest tinier tiniest further furthest",
)

#: Nouns that stand for no thing: "on the left *side*".
NULL_WORDS = frozenset(["part", "image", "side", "picture", "half", "region", "section"])


@dataclass(frozen=True)
class Keywords:
    """The words that a reader of parses knows; an empty table switches that kind of rule off.

    Attributes:
        relations: words by relation.
        superlatives: words by superlative.
        null_words: nouns that are passed through.
    """

    relations: Mapping[str, frozenset[str]] = field(default_factory=lambda: RELATIONS)
    superlatives: Mapping[str, frozenset[str]] = field(default_factory=lambda: SUPERLATIVES)
    null_words: frozenset[str] = NULL_WORDS

    @cached_property
    def on_the_way(self) -> frozenset[str]:
        """Words that lead from one thing to another even where they are nouns themselves."""
        return self.null_words.union(*self.relations.values())

    @cached_property
    def superlative_words(self) -> frozenset[str]:
        """All words of superlatives."""
        return frozenset().union(*self.superlatives.values())

    @cached_property
    def of_place_or_size(self) -> frozenset[str]:
        """Words that make an expression worth a parse."""
        return self.superlative_words.union(*self.relations.values())


def first_row(words: Iterable[str], table: Mapping[str, frozenset[str]]) -> str | None:
    """The first row of a table that shares a word with the given ones."""
    found = set(words)
    return next((name for name, row in table.items() if row & found), None)

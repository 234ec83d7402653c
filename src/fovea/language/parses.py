"""A dependency parse of an expression, wherever it comes from, and the noun chunks that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fovea.errors import DataError

_NOMINAL = frozenset({"NOUN", "PROPN", "PRON"})
# Dependencies whose word heads a base noun phrase, in the label scheme of spaCy's English models.
_PHRASE_DEPS = frozenset({"oprd", "nsubj", "dobj", "nsubjpass", "pcomp", "pobj", "dative", "appos", "attr", "ROOT"})

#: A noun chunk: its first word and the word after its last.
Chunk = tuple[int, int]


@dataclass(frozen=True)
class Parse:
    """The words of an expression and what each depends on.

    Attributes:
        words: lower case, in order.
        heads: for every word the index of the word it depends on; a root depends on itself.
        deps: dependency labels, in the scheme of spaCy's English models.
        pos: universal parts of speech.
        source: what made the parse, for the results: ``record``, ``spacy:NAME`` or ``built-in``.
    """

    words: tuple[str, ...]
    heads: tuple[int, ...]
    deps: tuple[str, ...]
    pos: tuple[str, ...]
    source: str = "record"

    def __post_init__(self) -> None:
        count = len(self.words)
        if not count == len(self.heads) == len(self.deps) == len(self.pos):
            raise DataError("a parse has lists of unequal length", "give one head, dep and pos per word")
        if any(not 0 <= head < count for head in self.heads):
            raise DataError(f"a parse of {count} words has a head outside of them", "heads count from 0")

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: str = "record") -> Parse:
        """Read ``{"words", "heads", "deps", "pos"}``.

        Raises:
            DataError: a key is missing, or the lists do not fit together.
        """
        try:
            words, heads, deps, pos = (record[key] for key in ("words", "heads", "deps", "pos"))
            return cls(
                tuple(map(str, words)), tuple(map(int, heads)), tuple(map(str, deps)), tuple(map(str, pos)), source
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a parse cannot be read: {error}", "it needs words, heads, deps and pos") from error

    def children(self, word: int) -> list[int]:
        """The words that depend on a word, in order."""
        return [index for index, head in enumerate(self.heads) if head == word and index != word]

    def subtree(self, word: int) -> list[int]:
        """A word and everything that depends on it, in order."""
        found, waiting = {word}, [word]
        while waiting:
            new = [child for child in self.children(waiting.pop()) if child not in found]
            found.update(new)
            waiting += new
        return sorted(found)

    def text(self, words: Sequence[int]) -> str:
        """Some of the words, joined by blanks."""
        return " ".join(self.words[index] for index in words)

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """The base noun phrases, as spaCy finds them: none lies in another, each ends with its head noun."""
        chunks: list[Chunk] = []
        end = -1
        for index, (dep, pos) in enumerate(zip(self.deps, self.pos, strict=True)):
            start = self.subtree(index)[0]
            if pos not in _NOMINAL or start <= end:
                continue
            carrier = index
            if dep == "conj":
                carrier = self.heads[index]
                while self.deps[carrier] == "conj" and self.heads[carrier] < carrier:
                    carrier = self.heads[carrier]
            if self.deps[carrier] in _PHRASE_DEPS:
                end = index
                chunks.append((start, index + 1))
        return tuple(chunks)

    def chunk_of(self, word: int) -> Chunk | None:
        """The noun chunk that a word lies in."""
        return next((chunk for chunk in self.chunks if chunk[0] <= word < chunk[1]), None)

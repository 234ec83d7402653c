"""What ReCLIP reads out of a parse: a thing, its relations to other things, and its superlatives (specs/fgvp.md, d)."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.language.keywords import Keywords
from fovea.language.parses import Chunk, Parse


@dataclass(frozen=True)
class Relation:
    """A path of words from one thing to another; ``words`` are indices, in order, and may be empty."""

    words: tuple[int, ...]
    other: Entity


@dataclass(frozen=True)
class Entity:
    """A thing that an expression speaks of.

    Attributes:
        chunk: its noun chunk.
        relations: to other things, in the order of the parse.
        superlatives: for each the indices of its words, in order.
    """

    chunk: Chunk
    relations: tuple[Relation, ...]
    superlatives: tuple[tuple[int, ...], ...]


class _Reader:
    """Collects the relations and superlatives of one thing, by descent from its head."""

    def __init__(self, parse: Parse, chunk: Chunk, keywords: Keywords) -> None:
        self.parse, self.chunk, self.keywords = parse, chunk, keywords
        self.relations: list[Relation] = []
        self.superlatives: list[tuple[int, ...]] = []

    def _passes_through(self, word: int) -> bool:
        return self.parse.words[word] in self.keywords.on_the_way

    def _try_superlative(self, words: list[int]) -> None:
        if any(self.parse.words[word] in self.keywords.superlative_words for word in words):
            self.superlatives.append(tuple(sorted(words)))

    def descend(self, word: int, path: list[int]) -> None:
        """Read a word and what depends on it; ``path`` holds the words on the way from the head."""
        chunk, children = self.parse.chunk_of(word), self.parse.children(word)
        if chunk not in (None, self.chunk) and not self._passes_through(word):
            other = read_entity(self.parse, word, self.keywords)
            if other is not None:
                self.relations.append(Relation(tuple(sorted(path)), other))
            return
        if not children:
            self._try_superlative([*path, word])
            return
        onward = [*path, word] if chunk is None or self._passes_through(word) else path
        for child in children:
            together = chunk is not None and self.parse.chunk_of(child) == chunk
            if together and self.parse.words[child] not in self.keywords.superlative_words:
                if len(children) == 1:
                    # "man on the left": only an article hangs below the word that tells.
                    self._try_superlative([*path, word])
                continue
            self.descend(child, onward)


def read_entity(parse: Parse, head: int, keywords: Keywords) -> Entity | None:
    """The thing at a word, or at the first word that depends on it; None where neither lies in a noun chunk."""
    chunk = parse.chunk_of(head)
    if chunk is None:
        children = parse.children(head)
        if not children or (chunk := parse.chunk_of(children[0])) is None:
            return None
        head = children[0]
    reader = _Reader(parse, chunk, keywords)
    reader.descend(head, [])
    return Entity(chunk, tuple(reader.relations), tuple(reader.superlatives))


def main_entity(parse: Parse, keywords: Keywords) -> Entity | None:
    """The thing that an expression means, or None where the parse names none."""
    root = next((index for index, head in enumerate(parse.heads) if head == index), None)
    found = None if root is None else read_entity(parse, root, keywords)
    if found is None and parse.chunks:
        # Its noun chunks still name something: the word above the first one is tried in the root's place.
        found = read_entity(parse, parse.heads[parse.chunks[0][1] - 1], keywords)
    return found

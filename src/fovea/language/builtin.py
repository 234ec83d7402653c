"""A small parser of noun phrases and prepositions, for machines without a language model. Approximate by design.

It knows the shape of referring expressions: a noun phrase, then prepositions, participles and relative clauses that
each hang on what stands before. Labels follow spaCy's English models, so that every rule can read either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fovea.language.parses import Parse
from fovea.language.tagger import tag, tokenize

_INSIDE = frozenset({"DET", "ADJ", "NUM", "NOUN", "PROPN", "PART", "PRON", "ADV"})
_HEADS = frozenset({"NOUN", "PROPN", "PRON"})


@dataclass
class _Builder:
    """Words are attached one by one, from left to right."""

    words: tuple[str, ...]
    pos: tuple[str, ...]
    heads: list[int] = field(default_factory=list)
    deps: list[str] = field(default_factory=list)
    noun: int | None = None  # the last head noun
    verb: int | None = None  # the last verb
    open_preposition: int | None = None
    conjunction: int | None = None
    root: int | None = None

    def __post_init__(self) -> None:
        self.heads = [-1] * len(self.words)
        self.deps = ["dep"] * len(self.words)

    def attach(self, word: int, head: int | None, dep: str) -> None:
        """Hang a word on a head; without one it is the root, or hangs on the root."""
        if head is None:
            if self.root is None:
                self.root, dep, head = word, "ROOT", word
            else:
                head = self.root
        self.heads[word], self.deps[word] = head, dep

    def chunk_end(self, start: int) -> int | None:
        """The head of the noun phrase that starts here: the last of its nouns; None where no noun follows."""
        head, index = None, start
        while index < len(self.words) and self.pos[index] in _INSIDE:
            if self.pos[index] == "PRON":
                # "the child who", but "the one".
                return index if head is None else head
            if self.pos[index] in _HEADS:
                head = index
            elif head is not None and self.pos[index] in ("DET", "ADV"):
                break
            index += 1
        return head

    def take_chunk(self, start: int, head: int) -> None:
        """Attach a noun phrase to whatever waits for one."""
        for index in range(start, head):
            kinds = {"DET": "det", "ADJ": "amod", "NUM": "nummod", "NOUN": "compound", "ADV": "advmod", "PART": "case"}
            self.attach(index, head, kinds.get(self.pos[index], "compound"))
        if self.open_preposition is not None:
            self.attach(head, self.open_preposition, "pobj")
        elif self.conjunction is not None:
            self.attach(head, self.conjunction, "conj")
        elif self.verb is not None:
            self.attach(head, self.verb, "dobj")
        else:
            self.attach(head, self.noun, "appos")
        self.open_preposition = self.conjunction = None
        self.noun = head

    def take(self, index: int) -> None:
        """Attach a word that is no part of a noun phrase."""
        pos, before = self.pos[index], index - 1
        if pos == "ADP":
            adverb = before >= 0 and self.pos[before] in ("ADV", "ADJ", "VERB", "ADP") and before != self.root
            anchor = before if adverb and self.heads[before] >= 0 else self.noun if self.noun is not None else self.verb
            self.attach(index, anchor, "prep")
            self.open_preposition, self.conjunction = index, None
        elif pos == "CCONJ":
            self.attach(index, self.noun, "cc")
            self.conjunction = self.noun
        elif pos in ("VERB", "AUX"):
            if self.verb is not None and self.pos[before] == "AUX":
                self.attach(index, self.verb, "acomp")
            else:
                self.attach(index, self.noun, "relcl" if pos == "AUX" else "acl")
            self.verb, self.open_preposition = index, None
        else:
            self.attach(index, self.noun if self.verb is None else self.verb, "advmod" if pos == "ADV" else "amod")


def parse(text: str) -> Parse:
    """Parse a referring expression.

    Args:
        text: English, a few words.

    Returns:
        A parse whose source is ``built-in``; without words where the text has none.
    """
    words = tokenize(text)
    builder = _Builder(words, tag(words))
    index = 0
    while index < len(words):
        head = builder.chunk_end(index) if builder.pos[index] in _INSIDE else None
        if head is None:
            builder.take(index)
            index += 1
        else:
            builder.take_chunk(index, head)
            index = head + 1
    return Parse(words, tuple(builder.heads), tuple(builder.deps), builder.pos, "built-in")

"""The primary word of an expression and its effective words (specs/iterprime.md, 1).

The primary word is the noun that the expression is about: "bowl" in "a bowl of soup next to the bread". Effective
words carry content: nouns, verbs, adjectives, numbers. Words are counted as blanks divide them, so every finder,
however it splits "man's" or "left-hand", speaks of the same words as the model's word pieces do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from fovea.errors import ExpressionError
from fovea.language.parsers import Parser, resolve_parser
from fovea.language.parses import Parse
from fovea.language.tagger import ADJECTIVES, COLOURS, ORDINALS
from fovea.language.templates import clean

#: Universal parts of speech whose words are effective.
EFFECTIVE = frozenset({"NOUN", "VERB", "ADJ", "PROPN", "NUM"})

_NOMINAL = frozenset({"NOUN", "PROPN", "PRON"})

# They say where a thing is or how it looks, and name none, also where nothing stands behind them: "far left", "red".
_SIDES = frozenset(["left", "right", "west", "east", "north", "south"])
_PLACES = frozenset(["top", "bottom", "middle", "center", "centre", "front", "back", "background", "foreground"])
_THINGS_TOO = frozenset(["orange", "light", "adult", "half", "square"])
_NO_THINGS = _SIDES | (COLOURS | ADJECTIVES).difference(_THINGS_TOO) | frozenset(ORDINALS)


@dataclass(frozen=True)
class FocusWords:
    """What counts in an expression.

    Attributes:
        words: the expression, divided at blanks.
        effective: indices of its effective words, in order.
        primary: index of its primary word, or None where it names no thing ("far left").
        source: what found them, for the results: ``built-in``, ``spacy:MODEL``, ``stanza``, ``user``.
    """

    words: tuple[str, ...]
    effective: tuple[int, ...]
    primary: int | None
    source: str

    def choose(self, word: str) -> FocusWords:
        """The same expression with a primary word of the user's choice; it becomes effective, too.

        Args:
            word: a word of the expression, in any case, with or without punctuation; the first of equals is meant.

        Raises:
            ExpressionError: the expression has no such word.
        """
        wanted = _bare(word)
        found = next((index for index, one in enumerate(self.words) if wanted and _bare(one) == wanted), None)
        if found is None:
            raise ExpressionError(
                f"the primary word {word[:80]!r} does not stand in {' '.join(self.words)[:80]!r}",
                "name one of its words",
            )
        return replace(self, primary=found, effective=with_word(self.effective, found), source="user")


class PrimaryWordFinder(Protocol):
    """Reads what counts in an expression."""

    @property
    def name(self) -> str:
        """For the results: what reads."""
        ...

    def __call__(self, text: str) -> FocusWords:
        """The words that count.

        Raises:
            ExpressionError: the expression is empty.
        """
        ...


def _bare(word: str) -> str:
    return word.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower().strip(" .,;:!?\"'()[]")


def with_word(effective: tuple[int, ...], word: int | None) -> tuple[int, ...]:
    """Indices in order, with another one among them."""
    return effective if word is None else tuple(sorted({*effective, word}))


def split_words(text: str) -> tuple[str, ...]:
    """The words of an expression, divided at blanks; what is no valid Unicode is dropped.

    Raises:
        ExpressionError: there are none.
    """
    clean(text)
    return tuple(text.encode("utf-8", "ignore").decode("utf-8").split())


def align(words: Sequence[str], tokens: Sequence[str]) -> tuple[int, ...]:
    """For every token the index of the word that it lies in.

    Tokens are looked for from left to right, whatever their case. One that cannot be found, because a parser rewrote
    it ("can't" as "can" and "not"), is taken to lie where the last one ended.

    Args:
        words: of the expression, at least one.
        tokens: of a parser, in order.
    """
    lowered = [word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") for word in words]
    owners = [index for index, word in enumerate(lowered) for _ in word]
    letters, cursor, found = "".join(lowered), 0, []
    for token in tokens:
        wanted = token.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        place = letters.find(wanted, cursor)
        if place >= 0 and wanted:
            found.append(owners[place])
            cursor = place + len(wanted)
        else:
            found.append(owners[min(cursor, len(owners) - 1)])
    return tuple(found)


def focus_words(
    words: tuple[str, ...], tokens: Sequence[str], pos: Sequence[str], head: int | None, source: str
) -> FocusWords:
    """What counts, from a parser's tokens: a word counts as soon as any token in it does.

    Args:
        words: of the expression.
        tokens: of the parser.
        pos: their universal parts of speech.
        head: index of the primary token, or None.
        source: the parser's name.
    """
    owners = align(words, tokens)
    effective = {owner for owner, tag in zip(owners, pos, strict=True) if tag in EFFECTIVE}
    return FocusWords(words, tuple(sorted(effective)), None if head is None else owners[head], source)


def head_noun(parse: Parse) -> int | None:
    """Index of the noun that a parse is about, or None where it names no thing.

    That is its root; else the head of its first noun chunk that no preposition leads: "closest to the window" does not
    mean the window. Words of place and colour are passed over.
    """
    roots = [index for index, head in enumerate(parse.heads) if head == index]
    heads = [stop - 1 for _, stop in parse.chunks if parse.deps[stop - 1] != "pobj"]
    for index in [*roots, *heads]:
        if parse.pos[index] in _NOMINAL and _is_thing(parse, index):
            return _before_number(parse, index)
    return None


def _is_thing(parse: Parse, index: int) -> bool:
    word = parse.words[index]
    after = parse.words[index + 1] if index + 1 < len(parse.words) else ""
    # "the back of the truck" is a thing, "guy in back" and "top" have none in it.
    return word not in _NO_THINGS and (word not in _PLACES or after == "of")


def _before_number(parse: Parse, index: int) -> int:
    """In "batter number 23" the batter is meant."""
    numbered = parse.words[index] in ("number", "no") and "NUM" in parse.pos[index + 1 : index + 2]
    return index - 1 if numbered and index and parse.pos[index - 1] in _NOMINAL else index


@dataclass(frozen=True)
class ParsedFinder:
    """Reads a parse: of the built-in parser, of spaCy, or of the user's records.

    Attributes:
        parser: from :func:`fovea.language.parsers.resolve_parser`.
    """

    parser: Parser

    @property
    def name(self) -> str:
        """The parser's."""
        return self.parser.name

    def __call__(self, text: str) -> FocusWords:
        """The words that count; those of very long expressions beyond what the parser reads never do."""
        words, parse = split_words(text), self.parser(clean(text))
        found = focus_words(words, parse.words, parse.pos, head_noun(parse), self.name)
        # "the blue one": a pronoun carries no content, but as the primary word it is what the expression is about.
        return replace(found, effective=with_word(found.effective, found.primary))


def resolve_finder(name: str = "built-in") -> PrimaryWordFinder:
    """A finder by name.

    Args:
        name: ``stanza`` for the released program's rule, or any name of a parser: ``built-in``, ``spacy``,
            ``spacy:MODEL``, or a JSON file of parses.

    Raises:
        ExpressionError: there is no such finder.
        MissingExtraError: its package is not installed.
        DataError: its model or file cannot be read.
    """
    if name == "stanza":
        from fovea.language.stanza_finder import load_stanza

        return load_stanza()
    return ParsedFinder(resolve_parser(name))

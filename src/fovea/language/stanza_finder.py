"""The primary word as the released program finds it: Stanza's tags and constituency tree (specs/iterprime.md, 1).

Its rule looks for the tag ``NN`` alone, so plurals and names never win by the tree: "two giraffes near the fence" is
about the fence. It is here for the paper's numbers; the built-in finder knows plurals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from fovea.errors import DataError, MissingExtraError
from fovea.language.primary import FocusWords, focus_words, split_words

# What the two readings need of Stanza's English pipeline.
_PROCESSORS = "tokenize,mwt,pos,constituency"


class Tree(Protocol):
    """A constituency tree: Stanza's, or any with labels and children. Leaves are words and have no children."""

    label: str
    children: Any


def _below(tree: Tree) -> Iterator[Tree]:
    """A tree and all trees in it, depth first, from left to right."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += reversed(tuple(found.children))


def tree_noun(tree: Tree) -> str | None:
    """The word that the released program takes for the primary one, or None.

    The first noun phrase, depth first from the left, that has no noun phrase in it and has an ``NN``: its last ``NN``.
    """
    for phrase in _below(tree):
        if phrase.label != "NP":
            continue
        within = tuple(_below(phrase))[1:]
        if any(part.label == "NP" for part in within):
            continue
        for part in reversed(within):
            if part.label == "NN" and len(part.children) == 1:
                return str(part.children[0].label)
    return None


def released_primary(tokens: tuple[str, ...], pos: tuple[str, ...], tree: Tree) -> int | None:
    """Index of the primary token by the released rule.

    Args:
        tokens: of one sentence.
        pos: their universal parts of speech.
        tree: the sentence's.

    Returns:
        The *last* token that equals the tree's word, else the last noun, else None.
    """
    word = tree_noun(tree)
    if word is None:
        nouns = [token for token, tag in zip(tokens, pos, strict=True) if tag == "NOUN"]
        word = nouns[-1] if nouns else None
    return max((index for index, token in enumerate(tokens) if token == word), default=None)


@dataclass(frozen=True, eq=False)
class StanzaFinder:
    """Reads Stanza's parse of an expression; of several sentences the first.

    Attributes:
        pipeline: called with a text, gives a document with ``sentences``; each has ``words`` with ``text`` and
            ``upos``, and a ``constituency`` tree.
        name: for the results.
    """

    pipeline: Any
    name: str = "stanza"

    def __call__(self, text: str) -> FocusWords:
        """The words that count.

        Raises:
            ExpressionError: the expression is empty.
        """
        words = split_words(text)
        sentences = self.pipeline(" ".join(words)).sentences
        if not sentences:
            return FocusWords(words, (), None, self.name)
        tokens = tuple(str(word.text) for word in sentences[0].words)
        pos = tuple(str(word.upos) for word in sentences[0].words)
        head = released_primary(tokens, pos, sentences[0].constituency)
        return focus_words(words, tokens, pos, head, self.name)


@lru_cache(maxsize=1)
def load_stanza() -> StanzaFinder:
    """A finder with Stanza's English models, which must be on this machine; nothing is downloaded.

    Raises:
        MissingExtraError: Stanza is not installed.
        DataError: it has no English models.
    """
    try:
        import stanza
    except ImportError as error:
        raise MissingExtraError("the released program's primary word", "stanza") from error
    try:
        pipeline = stanza.Pipeline("en", processors=_PROCESSORS, download_method=None, verbose=False)
    except Exception as error:
        # Stanza raises errors of its own, or the system's, whatever is missing.
        raise DataError(
            f"Stanza's English models cannot be read: {error}",
            "run: python -c \"import stanza; stanza.download('en')\"",
        ) from error
    return StanzaFinder(pipeline)

"""Which word pieces of a model's text belong to which word of an expression (specs/iterprime.md, 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea.errors import CheckpointError
from fovea.language.primary import FocusWords, split_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: What IteRPrimE and GroundVLP put around an expression.
PREFIX = "there is a {}"

# Position embeddings of BERT.
_LONGEST = 512


@dataclass(frozen=True)
class WordPieces:
    """An expression as a matching model reads it.

    Attributes:
        ids: token ids: the first stands for the whole text, then the pieces of the filled template. No separator
            follows: the model never saw one in training.
        words: the expression, divided at blanks.
        pieces: for every word the indices of its pieces in ``ids``, in order; empty where the vocabulary drops the
            word or the text was cut off before it.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]

    def effective(self, focus: FocusWords) -> tuple[int, ...]:
        """Indices in ``ids`` of all pieces of the effective words, in the order of the sentence."""
        return tuple(index for word in focus.effective for index in self.pieces[word])

    def primary(self, focus: FocusWords) -> tuple[int, ...]:
        """Indices in ``ids`` of all pieces of the primary word; empty where there is none."""
        return () if focus.primary is None else self.pieces[focus.primary]


def word_pieces(
    text: str, tokenizer: Tokenizer, template: str = PREFIX, start: str = "[CLS]", longest: int = _LONGEST
) -> WordPieces:
    """Divide an expression into words, and these into pieces.

    The released program counts the pieces of every word alone and loses step where a parser and the vocabulary divide
    differently. Here every piece says from which letters it comes, so it always finds its word.

    Args:
        text: the expression; neither its case nor its punctuation is touched.
        tokenizer: with offsets, as all of Hugging Face's fast ones; its own special tokens are left out.
        template: what is put around the expression.
        start: the special token that stands for the whole text.
        longest: ids in all; what is longer is cut off.

    Raises:
        ExpressionError: the expression is empty.
        CheckpointError: the vocabulary has no such start token.
    """
    words = split_words(text)
    begin = tokenizer.token_to_id(start)
    if begin is None:
        raise CheckpointError(f"the vocabulary has no {start}", "name a tokenizer that belongs to the matching model")
    before, _, after = template.partition("{}")
    encoding = tokenizer.encode(before + " ".join(words) + after, add_special_tokens=False)
    owners = [-1] * len(before)
    for index, word in enumerate(words):
        owners += [index] * len(word) + [-1]
    pieces: list[list[int]] = [[] for _ in words]
    for place, (first, last) in enumerate(encoding.offsets[: longest - 1], 1):
        # Pieces of byte-level vocabularies begin with the blank before their word.
        owner = max(owners[first:last], default=-1)
        if owner >= 0:
            pieces[owner].append(place)
    return WordPieces((begin, *encoding.ids[: longest - 1]), words, tuple(map(tuple, pieces)))

"""Word pieces: against words tokenised one by one, and on texts over which the released program stumbles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fovea.errors import CheckpointError, ExpressionError
from fovea.language.pieces import word_pieces
from fovea.language.primary import FocusWords, resolve_finder

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
WHOLE = ["there", "is", "a", "the", "man", "red", "in", "giraffe", "next", "to"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WHOLE, *"'-,.()!", *LETTERS, "##s", *(f"##{one}" for one in LETTERS)]


def bert(vocabulary: list[str] = VOCABULARY) -> Tokenizer:
    """A small vocabulary in the manner of BERT's uncased one; like the published file it adds [CLS] and [SEP]."""
    ids = {word: index for index, word in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if "[CLS]" in ids:
        pair = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    return tokenizer


BERT = bert()


def tokens(found: tuple[int, ...], indices: tuple[int, ...] | None = None) -> list[str]:
    chosen = found if indices is None else [found[index] for index in indices]
    return [BERT.id_to_token(one) or "" for one in chosen]


def test_layout() -> None:
    found = word_pieces("The man in red", BERT)
    assert tokens(found.ids) == ["[CLS]", "there", "is", "a", "the", "man", "in", "red"]
    assert found.pieces == ((4,), (5,), (6,), (7,))


def test_words_of_several_pieces_and_marks() -> None:
    found = word_pieces("two  giraffes, (man's)\nhat", BERT)
    assert found.words == ("two", "giraffes,", "(man's)", "hat")
    assert [tokens(found.ids, pieces) for pieces in found.pieces] == [
        ["t", "##w", "##o"],
        ["giraffe", "##s", ","],
        ["(", "man", "'", "s", ")"],
        ["h", "##a", "##t"],
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*WHOLE, "giraffes", "man's", "left-most", "x,y", "#7", "Café"]), min_size=1))
def test_every_word_has_the_pieces_that_it_has_alone(words: list[str]) -> None:
    """The released program's count: a running cursor from 4, by the pieces of every word alone."""
    found = word_pieces(" ".join(words), BERT)
    cursor = 4
    for word, pieces in zip(words, found.pieces, strict=True):
        count = len(BERT.encode(word, add_special_tokens=False).ids)
        assert pieces == tuple(range(cursor, cursor + count))
        cursor += count
    assert cursor == len(found.ids)


ODD = [
    f"man{CURLY}s “red” can't",
    "don't",
    "gonna cannot",
    "a\x1cb c",
    "🦒 man",
    "x" * 300,
    "a \ud83e red",
    "e\u0301 man",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_never_lose_step(text: str) -> None:
    found = word_pieces(text, BERT)
    flat = [index for pieces in found.pieces for index in pieces]
    assert flat == list(range(4, len(found.ids)))
    focus = resolve_finder()(text)
    assert focus.words == found.words
    assert set(found.effective(focus)) <= set(flat)


def test_a_word_that_the_vocabulary_drops_has_no_pieces() -> None:
    found = word_pieces("man \u200b red", BERT)
    assert found.pieces == ((4,), (), (5,))


def test_focus_becomes_indices() -> None:
    text = "two giraffes next to the man"
    found = word_pieces(text, BERT)
    focus = FocusWords(found.words, (0, 1, 5), 1, "given")
    assert tokens(found.ids, found.effective(focus)) == ["t", "##w", "##o", "giraffe", "##s", "man"]
    assert tokens(found.ids, found.primary(focus)) == ["giraffe", "##s"]
    assert found.primary(FocusWords(found.words, (), None, "given")) == ()


def test_long_texts_are_cut_off() -> None:
    found = word_pieces("man " * 600, BERT)
    assert len(found.ids) == 512
    assert found.pieces[507] == (511,)
    assert found.pieces[508] == ()


def test_other_templates() -> None:
    assert tokens(word_pieces("man", BERT, "{} in red").ids) == ["[CLS]", "man", "in", "red"]
    assert word_pieces("{} man", BERT).words == ("{}", "man")


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ExpressionError):
        word_pieces(" . ", BERT)
    with pytest.raises(CheckpointError, match=r"no \[CLS\]"):
        word_pieces("man", bert(["[UNK]", *LETTERS]))

"""The word-level tokenizer of the minis: every word of their world, and one token for all others."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fovea.scenes.colours import PAINTS
from fovea.scenes.glyphs import glyphs_of

#: Longest token sequence of the minis, begin and end tokens included.
CONTEXT_LENGTH = 24

_FUNCTION_WORDS = """
    a an the this that is are of in on at to from with and photo picture image thing object one
    left right top bottom above below over under up down next near beside between middle center corner side
    upper lower leftmost rightmost topmost bottommost highest lowest nearest closest farthest furthest
    big small large little bigger smaller larger biggest smallest largest tallest
    first second third fourth fifth last clear sharp blurred red-circled most
"""


def _words() -> set[str]:
    """Every word that a scene's expressions are made of."""
    return {*_FUNCTION_WORDS.split(), *PAINTS, *(word for glyph in glyphs_of("train") for word in glyph.name.split())}


def _word_level(ids: dict[str, int], unknown: str) -> Tokenizer:
    """Words to ids, whatever their case."""
    backend = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Hyphens bind ("t-shirt"); everything that is not a word is dropped.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+(?:-\w+)*"), behavior="removed", invert=True)
    return backend


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The minis' tokenizer: lower-cased words, ``<unk>`` for every other word, begin and end tokens.

    The end token has the largest id: that is where CLIP's text tower reads the sentence.
    """
    tokens = ["<pad>", "<unk>", *sorted(_words()), "<start>", "<end>"]
    ids = {token: index for index, token in enumerate(tokens)}
    backend = _word_level(ids, "<unk>")
    backend.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", ids["<start>"]), ("<end>", ids["<end>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=CONTEXT_LENGTH,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
    )


def save_tokenizer(directory: Path) -> None:
    """Write the tokenizer's files beside a mini's weights."""
    build_tokenizer().save_pretrained(directory)


def build_matching_tokenizer() -> Tokenizer:
    """The same words for matching models: named tokens as in BERT, ``[CLS]`` in front, and the word "there"."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", *sorted(_words() | {"there"})]
    return _word_level({token: index for index, token in enumerate(tokens)}, "[UNK]")

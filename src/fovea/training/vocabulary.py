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


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The minis' tokenizer: lower-cased words, ``<unk>`` for every other word, begin and end tokens.

    The end token has the largest id: that is where CLIP's text tower reads the sentence.
    """
    words = set(_FUNCTION_WORDS.split()) | set(PAINTS)
    for glyph in glyphs_of("train"):
        words |= set(glyph.name.split())
    tokens = ["<pad>", "<unk>", *sorted(words), "<start>", "<end>"]
    ids = {token: index for index, token in enumerate(tokens)}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Hyphens bind ("t-shirt"); everything that is not a word is dropped.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+(?:-\w+)*"), behavior="removed", invert=True)
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

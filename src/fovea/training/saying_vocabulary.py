"""The tokenizer of mini-vlm: every word of its world, every digit, and the signs between them, blanks kept."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fovea.scenes.colours import PAINTS
from fovea.scenes.glyphs import frequent_glyphs

#: Stands for one place of a picture.
IMAGE_TOKEN = "<image>"

_BLANK = "▁"
_SENTENCE_WORDS = "a an the in is image there number things of yes no and coloured wall located at"
_OTHER_WORDS = """
    again also are as been bearing being but can carrying does for from given has have having holding its just kept
    marked may much named not numbered or read reading said saying seen showing shown so still such that thing this to
    told very was what which who will with written
"""
_SIGNS = "0123456789[],.?"

#: Words that nothing is meant by: whatever stands between a thing and its numbers.
OTHER_WORDS = tuple(_OTHER_WORDS.split())


def build_saying_tokenizer() -> PreTrainedTokenizerFast:
    """Words with the blank in front of them, single digits and signs; ``<unk>`` for every other word.

    Whatever its case, decoded text is what was encoded, in lower case.
    """
    words = {
        *_SENTENCE_WORDS.split(),
        *OTHER_WORDS,
        *PAINTS,
        *(w for glyph in frequent_glyphs() for w in glyph.name.split()),
    }
    tokens = [
        "<pad>", "<unk>", IMAGE_TOKEN, "<end>", _BLANK, *_SIGNS, f"{_BLANK}[", *sorted(_BLANK + word for word in words)
    ]  # fmt: skip
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, "<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split(Regex(rf"{_BLANK}?\[|\d|[\],.?]"), behavior="isolated"),
        ]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=1024,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end>",
        additional_special_tokens=[IMAGE_TOKEN],
        clean_up_tokenization_spaces=False,
    )

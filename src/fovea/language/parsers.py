"""Where parses come from: the built-in parser, spaCy, or records that the user has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fovea.errors import DataError, ExpressionError, MissingExtraError
from fovea.language import builtin
from fovea.language.parses import Parse
from fovea.language.templates import clean


@dataclass(frozen=True)
class Parser:
    """From an expression to its parse.

    Attributes:
        name: for the results: ``built-in``, ``spacy:MODEL`` or ``record``.
        parse: does it.
    """

    name: str
    parse: Callable[[str], Parse]

    def __call__(self, text: str) -> Parse:
        """The parse of an expression."""
        return self.parse(text)


# Longer expressions are not parsed: a model reads no more of them either, and the rules of parses are not linear.
_MOST_WORDS = 200


def _bounded(name: str, parse: Callable[[str], Parse]) -> Parser:
    """A parser that reads the beginning of long texts and remembers what it read."""
    return Parser(name, lru_cache(maxsize=4096)(lambda text: parse(" ".join(text.split()[:_MOST_WORDS]))))


def _spacy(model: str) -> Callable[[str], Parse]:
    try:
        import spacy
    except ImportError as error:
        raise MissingExtraError("parsing with spaCy", "spacy") from error
    try:
        pipeline = spacy.load(model)
    except OSError as error:
        raise DataError(f"spaCy has no model called {model!r}", f"run: python -m spacy download {model}") from error

    def parse(text: str) -> Parse:
        doc = pipeline(text)
        return Parse(
            tuple(token.text.lower() for token in doc),
            tuple(token.head.i for token in doc),
            tuple(token.dep_ for token in doc),
            tuple(token.pos_ for token in doc),
            f"spacy:{model}",
        )

    return parse


def read_records(path: Path) -> Parser:
    """Parses of a JSON file, ``{expression: {"words", "heads", "deps", "pos"}}``.

    Raises:
        DataError: the file is missing or no such mapping; later, when an expression is not in it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        records = {clean(text): Parse.from_record(record) for text, record in data.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} holds no parses: {error}", "it must map expressions to words, heads, deps, pos"
        ) from error

    def parse(text: str) -> Parse:
        if text not in records:
            raise DataError(f"{path} holds no parse of {text!r}", "add it, or use --parser built-in")
        return records[text]

    return Parser("record", parse)


def resolve_parser(name: str = "built-in") -> Parser:
    """A parser by name.

    Args:
        name: ``built-in``, ``spacy`` (its small English model), ``spacy:MODEL``, or a JSON file of parses.

    Raises:
        ExpressionError: there is no such parser.
        MissingExtraError: spaCy is not installed.
        DataError: the model or the file cannot be read.
    """
    if name == "built-in":
        return _bounded(name, builtin.parse)
    if name == "spacy" or name.startswith("spacy:"):
        model = name.partition(":")[2] or "en_core_web_sm"
        return _bounded(f"spacy:{model}", _spacy(model))
    if Path(name).suffix == ".json":
        return read_records(Path(name))
    raise ExpressionError(f"there is no parser called {name!r}", "known are built-in, spacy, or a .json file of parses")

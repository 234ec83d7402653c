"""Relation rules on the matrix: from how regions fit texts to how they share an expression with its places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from fovea.answers import ScoreMatrix, softmax
from fovea.errors import ExpressionError
from fovea.language.entities import main_entity
from fovea.language.keywords import Keywords
from fovea.language.parsers import Parser, resolve_parser
from fovea.language.phrases import Phrase, read_phrase
from fovea.language.templates import clean
from fovea.rules.extended import share_phrase
from fovea.rules.graded import Layout
from fovea.rules.reclip import ReclipRules, Softness, softened

#: From a text to the logits of the regions: ``(N,)``.
Logits = Callable[[str], np.ndarray]


class Relations(Protocol):
    """A dialect: a way to read places, sizes and neighbours out of an expression and to apply them."""

    #: Names the dialect and its parser, for the results.
    name: str

    def share(self, expression: str, boxes: np.ndarray, size: tuple[int, int], logits: Logits) -> np.ndarray:
        """How the regions share an expression.

        Args:
            expression: cleaned.
            boxes: ``(N, 4)`` xyxy pixels.
            size: of the picture, width and height in pixels.
            logits: how well the regions fit any text; which texts are asked for depends on the expression alone.

        Returns:
            ``(N,)`` float64, of which the order counts. All 0 or NaN where the rules leave nothing.
        """
        ...


class ExtendedRelations:
    """The default dialect (:mod:`fovea.rules.extended`).

    Args:
        parser: reads expressions.
        summed: how many visual prompts and CLIPs a logit sums.
    """

    def __init__(self, parser: Parser, summed: int = 1) -> None:
        self.parser, self.summed = parser, summed
        self.name = f"extended, parser {parser.name}"

    def share(self, expression: str, boxes: np.ndarray, size: tuple[int, int], logits: Logits) -> np.ndarray:
        """See :class:`Relations`."""
        phrase = read_phrase(self.parser(expression))
        if not phrase.conditions:
            # Nothing to add: the model reads the expression as it stands.
            phrase = Phrase(expression)
        return share_phrase(phrase, Layout(boxes, size), lambda text: logits(text) / self.summed, self.summed)


class ReclipRelations:
    """The dialect of ReCLIP and FGVP's ``R`` (:mod:`fovea.rules.reclip`).

    Args:
        parser: reads expressions.
        rules: which words count, and what is too small.
        softness: how logits of the parts of an expression become shares.
    """

    def __init__(self, parser: Parser, rules: ReclipRules | None = None, softness: Softness | None = None) -> None:
        self.parser, self.rules, self.softness = parser, rules or ReclipRules(), softness or Softness()
        self.name = f"reclip{'-sigmoid' * self.softness.sigmoid}, parser {parser.name}"

    def share(self, expression: str, boxes: np.ndarray, size: tuple[int, int], logits: Logits) -> np.ndarray:
        """See :class:`Relations`."""
        return self.rules.apply(
            expression,
            self.parser(expression),
            boxes,
            size,
            lambda text: softened(logits(text), Softness()),
            lambda text: softened(logits(text), self.softness),
        )


class HeadPhrase:
    """ReCLIP's baseline with the head: an expression's share times that of its head's noun chunk.

    Args:
        parser: reads expressions.
    """

    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self.name = f"head, parser {parser.name}"

    def share(self, expression: str, boxes: np.ndarray, size: tuple[int, int], logits: Logits) -> np.ndarray:
        """See :class:`Relations`."""
        parse = self.parser(expression)
        entity = main_entity(parse, Keywords())
        whole = softmax(logits(expression), axis=0)
        return whole if entity is None else whole * softmax(logits(parse.text(range(*entity.chunk))), axis=0)


def resolve_relations(dialect: str, parser: str, summed: int) -> Relations:
    """A dialect by name.

    Args:
        dialect: ``extended``, ``reclip``, ``reclip-sigmoid`` or ``head``.
        parser: as :func:`fovea.language.parsers.resolve_parser` takes it.
        summed: how many visual prompts and CLIPs a logit sums.

    Raises:
        ExpressionError: there is no such dialect or parser.
    """
    if dialect == "extended":
        return ExtendedRelations(resolve_parser(parser), summed)
    if dialect == "reclip":
        return ReclipRelations(resolve_parser(parser))
    if dialect == "reclip-sigmoid":
        return ReclipRelations(resolve_parser(parser), softness=Softness(sigmoid=True))
    if dialect == "head":
        return HeadPhrase(resolve_parser(parser))
    raise ExpressionError(
        f"there is no dialect of relations called {dialect!r}", "known are extended, reclip, reclip-sigmoid and head"
    )


def texts_of(relations: Relations, expression: str) -> list[str]:
    """The texts that a dialect asks for, in order of first use."""
    asked: dict[str, None] = {}

    def record(text: str) -> np.ndarray:
        asked[text] = None
        return np.zeros(2)

    relations.share(expression, np.array([[0.0, 0, 1, 1], [1, 1, 2, 2]]), (2, 2), record)
    return list(asked)


def apply_relations(matrix: ScoreMatrix, expressions: Sequence[str], relations: Relations) -> ScoreMatrix:
    """A matrix of the expressions alone, with the rules applied.

    Args:
        matrix: of R regions and all texts that :func:`texts_of` names for the expressions, and these themselves.
        expressions: T expressions, as the user wrote them.
        relations: the dialect.

    Returns:
        ``(R, T)`` logarithms of shares; where the rules leave nothing, the column stays as the scorer filled it.
    """
    columns = {text: matrix.values[:, index] for index, text in enumerate(matrix.texts)}
    values = np.zeros((len(matrix.regions), len(expressions)), np.float32)
    for index, expression in enumerate(expressions):
        text = clean(expression)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(relations.share(text, matrix.regions.boxes, matrix.regions.size, columns.__getitem__))
        values[:, index] = found if np.isfinite(found).any() else columns[text]
    return ScoreMatrix(values, matrix.regions, tuple(expressions))

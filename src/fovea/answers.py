"""The matrix of regions and texts, and the answers that are read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.errors import ExpressionError
from fovea.regions import Regions, Rle, rle_to_json

#: How texts get their regions: each its best one, or no two the same one.
Assignment = Literal["argmax", "one-to-one"]


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """Softmax in double precision. Values that are not finite get no share; without any other, all shares are 0."""
    values = np.where(np.isfinite(values), np.asarray(values, np.float64), -np.inf)
    top = values.max(axis=axis, keepdims=True, initial=np.finfo(np.float64).min)
    powers = np.exp(values - top)
    total = powers.sum(axis=axis, keepdims=True)
    return np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """How well every text fits every region.

    Attributes:
        values: ``(R, T)`` float32 logits: what a softmax is taken of.
        regions: the R regions.
        texts: the T texts, as the user wrote them.
        notes: for each text what the user should know of how it was scored; empty where there is nothing.
    """

    values: np.ndarray
    regions: Regions
    texts: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...] = ()

    def over_regions(self) -> np.ndarray:
        """``(R, T)`` float64, how the regions share every text. Columns add up to 1, or to 0 if no logit is finite."""
        return softmax(self.values, axis=0)

    def over_texts(self) -> np.ndarray:
        """``(R, T)`` float64, how the texts share every region. Rows add up to 1, or to 0 if no logit is finite."""
        return softmax(self.values, axis=1)


def best_regions(values: np.ndarray) -> np.ndarray:
    """The best region of every text on its own.

    Args:
        values: ``(R, T)`` scores, more is better; -inf or NaN where a text cannot mean a region.

    Returns:
        ``(T,)`` int64 indices of regions, the first of equals; -1 where no score of a text is finite.
    """
    scores = _comparable(values)
    if not len(scores):
        return np.full(scores.shape[1], -1)
    return np.where(np.isfinite(scores).any(axis=0), scores.argmax(axis=0), -1)


def matched_regions(values: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Regions for all texts at once, no region for two of them (specs/fgvp.md, f).

    Of all one-to-one assignments this is the one whose sum of exp(-cosine) is the least, as in the released script.

    Args:
        values: ``(R, T)`` scores, more is better; -inf or NaN where a text cannot mean a region.
        temperature: what a cosine of 1 counts in the scores; divided by it, they are mean cosines.

    Returns:
        ``(T,)`` int64 indices of regions. Where there are fewer regions than texts, some texts get none: -1.
    """
    from scipy.optimize import linear_sum_assignment

    cosines = _comparable(values) / temperature
    possible = np.isfinite(cosines)
    # The logarithms of shares that rules leave lie far below any cosine: exp must not overflow.
    costs = np.exp(-np.where(possible, cosines, 0).clip(-30, 30))
    # An impossible pair costs more than all others together, and no more than that: the solver adds costs up.
    costs[~possible] = costs.max(initial=1.0) * (min(costs.shape) + 1)
    rows, columns = linear_sum_assignment(costs)
    found = np.full(cosines.shape[1], -1)
    found[columns] = np.where(possible[rows, columns], rows, -1)
    return found


def _comparable(values: np.ndarray) -> np.ndarray:
    """Scores in double precision; what is no number counts as impossible."""
    scores = np.asarray(values, np.float64)
    return np.where(np.isfinite(scores), scores, -np.inf)


def known_assignment(name: str) -> Assignment:
    """An assignment by name.

    Raises:
        ExpressionError: there is no such assignment.
    """
    known: tuple[Assignment, ...] = get_args(Assignment)
    error = ExpressionError(f"there is no assignment called {name!r}", f"known are {' and '.join(known)}")
    return chosen(name, known, error)


@dataclass(frozen=True)
class Provenance:
    """Where an answer came from.

    Attributes:
        recipe: name of the recipe.
        models: names of the models.
        proposals: source of the proposals; results on ground truth must never pass for others.
        count: how many proposals there were.
        relations: the dialect and the parser that read places out of expressions.
        grid: how densely the picture was searched, where the proposals come from a grid; empty elsewhere.
    """

    recipe: str
    models: str
    proposals: str
    count: int
    relations: str = "none"
    grid: str = ""


@dataclass(frozen=True)
class Answer:
    """What was found for one expression.

    Attributes:
        expression: as the user wrote it.
        status: ``found``, or ``absent`` where nothing was proposed, could be scored or fits well enough.
        box: xyxy pixels of the upright picture, or None.
        mask: run-length encoded, of the picture's size, or None.
        score: share of the softmax over the proposals, 0..1; 0 when absent.
        region: index of the proposal, or None.
        seconds: time from question to answer, shared evenly by the questions that were asked together.
        provenance: where the proposals came from.
        notes: what the user should know, such as words that the model has never seen.
    """

    expression: str
    status: Literal["found", "absent"]
    box: tuple[float, float, float, float] | None
    mask: Rle | None
    score: float
    region: int | None
    seconds: float
    provenance: Provenance
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The stable form: expression, status, box, mask, score, seconds."""
        return {
            "expression": self.expression,
            "status": self.status,
            "box": None if self.box is None else [round(value, 2) for value in self.box],
            "mask": None if self.mask is None else rle_to_json(self.mask),
            "score": round(self.score, 6),
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True)
class RegionLabels:
    """What one region was called.

    Attributes:
        box: xyxy pixels of the upright picture.
        mask: run-length encoded, or None.
        labels: candidate names with their share of the softmax over the names, best first.
        provenance: where the region came from.
    """

    box: tuple[float, float, float, float]
    mask: Rle | None
    labels: tuple[tuple[str, float], ...]
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """The stable form: box, mask, labels."""
        return {
            "box": [round(value, 2) for value in self.box],
            "mask": None if self.mask is None else rle_to_json(self.mask),
            "labels": [{"name": name, "score": round(score, 6)} for name, score in self.labels],
        }


def read_columns(
    matrix: ScoreMatrix,
    provenance: Provenance,
    *,
    seconds: float,
    min_score: float = 0.0,
    notes: tuple[tuple[str, ...], ...] | None = None,
    assignment: Assignment = "argmax",
    temperature: float = 1.0,
) -> list[Answer]:
    """Read the matrix by column: which region is meant by each text?

    Args:
        matrix: regions x texts.
        provenance: of the regions.
        seconds: time per text.
        min_score: a region with a smaller share counts as absent.
        notes: for every text, what the user should know.
        assignment: whether two texts may mean one region.
        temperature: what a cosine of 1 counts in the matrix; for one-to-one assignment.

    Returns:
        One answer per text, in order.
    """
    shares = matrix.over_regions()
    one_to_one = assignment == "one-to-one"
    chosen = matched_regions(matrix.values, temperature) if one_to_one else best_regions(matrix.values)
    answers = []
    for column, best in enumerate(chosen.tolist()):
        text, score = matrix.texts[column], float(shares[best, column]) if best >= 0 else 0.0
        about = notes[column] if notes else ()
        if best < 0 or score < min_score:
            answers.append(Answer(text, "absent", None, None, 0.0, None, seconds, provenance, about))
            continue
        box = tuple(map(float, matrix.regions.boxes[best]))
        mask = None if matrix.regions.masks is None else matrix.regions.masks[best]
        answers.append(Answer(text, "found", box, mask, score, best, seconds, provenance, about))  # type: ignore[arg-type]
    return answers


def read_rows(matrix: ScoreMatrix, provenance: Provenance, *, top: int | None = None) -> list[RegionLabels]:
    """Read the matrix by row: what is each region called?

    Args:
        matrix: regions x texts.
        provenance: of the regions.
        top: how many names to keep for each region; all by default.

    Returns:
        One result per region, in order.
    """
    shares = matrix.over_texts()
    results = []
    for row in range(len(matrix.regions)):
        order = np.argsort(-shares[row], kind="stable")[:top]
        labels = tuple((matrix.texts[i], float(shares[row, i])) for i in order)
        box = tuple(map(float, matrix.regions.boxes[row]))
        mask = None if matrix.regions.masks is None else matrix.regions.masks[row]
        results.append(RegionLabels(box, mask, labels, provenance))  # type: ignore[arg-type]
    return results

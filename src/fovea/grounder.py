"""The grounder: proposer, scorer and reading of the matrix behind two questions, find and label."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.answers import Answer, Assignment, Provenance, RegionLabels, ScoreMatrix, read_columns, read_rows
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.language.templates import clean, with_article
from fovea.pictures import Picture, PictureSource, open_picture
from fovea.proposers.finder import Pointed, RegionFinder
from fovea.regions import Regions
from fovea.rules.relations import Relations, apply_relations, texts_of
from fovea.scorers import Evidence, Namer, Scorer, Trace


@dataclass(frozen=True, eq=False)
class Grounding:
    """Everything about one picture and some questions: what ``find`` reads its answers from.

    Attributes:
        picture: what was looked at.
        regions: the proposals.
        matrix: how well every expression fits every proposal.
        answers: one per expression.
        seconds: time of every stage, by name.
        evidence: what the models saw of every region, where it was asked for.
        traces: how the scores of every expression came about, likewise.
    """

    picture: Picture
    regions: Regions
    matrix: ScoreMatrix
    answers: tuple[Answer, ...]
    seconds: dict[str, float]
    evidence: tuple[Evidence, ...] = ()
    traces: tuple[Trace, ...] = ()


@dataclass
class _Clock:
    """Adds up the time of named stages."""

    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun
        return result


class Grounder:
    """Finds what expressions mean and names regions. One grounder may be shared by threads.

    Args:
        recipe: name of the recipe, for the results.
        models: name of the models, for the results.
        scorer: fills the matrix.
        finder: finds the regions that a question is about.
        cache: of features; several grounders may share one. A new one by default.
        relations: reads places, sizes and neighbours out of expressions; by default nothing does.
    """

    def __init__(
        self,
        recipe: str,
        models: str,
        scorer: Scorer,
        finder: RegionFinder,
        cache: FeatureCache | None = None,
        relations: Relations | None = None,
    ) -> None:
        self.recipe = recipe
        self.models = models
        self.scorer = scorer
        self.finder = finder
        self.cache = FeatureCache() if cache is None else cache
        self.relations = relations

    def ground(
        self,
        picture: PictureSource,
        expressions: str | Sequence[str],
        *,
        boxes: Any = None,
        masks: np.ndarray | None = None,
        points: Any = None,
        regions: Regions | None = None,
        min_score: float = 0.0,
        explain: bool = False,
        assignment: Assignment = "argmax",
    ) -> Grounding:
        """Find what expressions mean, and keep everything that led there.

        Args:
            picture: a path, bytes, a Pillow image or an array.
            expressions: one or several.
            boxes: proposals, ``(N, 4)`` xyxy pixels of the upright picture.
            masks: proposals, ``(N, H, W)`` bool.
            points: proposals, ``(N, 2)`` xy pixels.
            regions: proposals with their own provenance.
            min_score: an expression whose best share is smaller counts as absent; 0..1.
            explain: keep the marked pictures that the models saw.
            assignment: ``argmax`` answers every expression on its own; ``one-to-one`` gives no two of them the same
                region, which suits names of things of which each is there once.

        Returns:
            The whole grounding.
        """
        texts = _texts(expressions)
        pointed = Pointed(boxes, masks, points, regions)
        self.finder.warm_up(pointed, self.scorer.needs_masks)
        clock = _Clock()
        opened: Picture = clock.run("picture", lambda: open_picture(picture))
        proposals: Regions = clock.run(
            "proposals", lambda: self.finder.find(opened, pointed, self.scorer.needs_masks, self.cache, texts)
        )
        if opened.is_blank:
            # A picture of one colour shows nothing, whatever is proposed.
            proposals = Regions.empty(opened.size, proposals.source)
        matrix: ScoreMatrix = clock.run("scores", lambda: self._score(opened, proposals, texts))
        answers = read_columns(
            matrix,
            self.provenance(proposals, "none" if self.relations is None else self.relations.name),
            seconds=sum(clock.seconds.values()) / max(1, len(texts)),
            min_score=min_score,
            notes=tuple(
                (*self.scorer.notes(text), *of_score)
                for text, of_score in zip(texts, matrix.notes or ((),) * len(texts), strict=True)
            ),
            assignment=assignment,
            temperature=self.scorer.temperature,
        )
        evidence: Sequence[Evidence] = ()
        traces: Sequence[Trace] = ()
        if explain and len(proposals):
            evidence = clock.run("evidence", lambda: self.scorer.evidence(opened, proposals))
            traces = clock.run("evidence", lambda: self.scorer.trace(opened, proposals, texts, self.cache))
        return Grounding(opened, proposals, matrix, tuple(answers), clock.seconds, tuple(evidence), tuple(traces))

    def _score(self, picture: Picture, regions: Regions, texts: list[str]) -> ScoreMatrix:
        """How well expressions fit regions, with what the rules make of it."""
        if self.relations is None:
            return self.scorer.score(picture, regions, texts, self.cache)
        wanted = [clean(text) for text in texts]
        parts = [part for text in wanted for part in texts_of(self.relations, text)]
        matrix = self.scorer.score(picture, regions, list(dict.fromkeys(wanted + parts)), self.cache)
        return apply_relations(matrix, texts, self.relations)

    def find(self, picture: PictureSource, expressions: str | Sequence[str], **options: Any) -> list[Answer]:
        """Find what expressions mean: the answers of :meth:`ground`, which takes the same options."""
        return list(self.ground(picture, expressions, **options).answers)

    def explain(self, picture: PictureSource, expressions: str | Sequence[str], **options: Any) -> Grounding:
        """:meth:`ground` with the marked pictures that the models saw."""
        return self.ground(picture, expressions, explain=True, **options)

    def label(
        self,
        picture: PictureSource,
        labels: Sequence[str],
        *,
        boxes: Any = None,
        masks: np.ndarray | None = None,
        points: Any = None,
        regions: Regions | None = None,
        top: int | None = None,
    ) -> list[RegionLabels]:
        """Name regions.

        Args:
            picture: a path, bytes, a Pillow image or an array.
            labels: the candidate names.
            boxes: what to name, ``(N, 4)`` xyxy pixels of the upright picture.
            masks: what to name, ``(N, H, W)`` bool.
            points: what to name, ``(N, 2)`` xy pixels.
            regions: what to name, with their own provenance. Without any, everything that SAM's grid finds.
            top: how many names to keep per region; all by default.

        Returns:
            One result per region, best name first.
        """
        names = list(dict.fromkeys(_texts(labels)))
        opened = open_picture(picture)
        pointed = Pointed(boxes, masks, points, regions)
        proposals = self.finder.find(opened, pointed, self.names_masks, self.cache, names)
        return read_rows(self.name(opened, proposals, names), self.provenance(proposals), top=top)

    @property
    def names_masks(self) -> bool:
        """Whether boxes alone do not do for :meth:`label`."""
        return self.scorer.needs_masks and not isinstance(self.scorer, Namer)

    @property
    def names_as_written(self) -> bool:
        """Whether names are best given as files write them."""
        return isinstance(self.scorer, Namer) and self.scorer.names_as_written

    def ask(self, picture: Picture, regions: Regions, texts: Sequence[str]) -> ScoreMatrix:
        """How well texts fit regions, as the scorer alone says; no rules are applied."""
        return self.scorer.score(picture, regions, texts, self.cache)

    def name(self, picture: Picture, regions: Regions, names: Sequence[str]) -> ScoreMatrix:
        """How well names fit regions: what :meth:`label` reads its answers from."""
        if isinstance(self.scorer, Namer):
            return self.scorer.name(picture, regions, names, self.cache)
        matrix = self.ask(picture, regions, [with_article(name) for name in names])
        return ScoreMatrix(matrix.values, regions, tuple(names))

    def provenance(self, regions: Regions, relations: str = "none") -> Provenance:
        """Where answers about some regions come from; ``relations`` names the rules that were applied."""
        grid = self.finder.grid.name if regions.source == "sam-grid" else ""
        return Provenance(self.recipe, self.models, regions.source, len(regions), relations, grid)


def _texts(expressions: str | Sequence[str]) -> list[str]:
    texts = [expressions] if isinstance(expressions, str) else list(expressions)
    if not texts:
        raise ExpressionError("there is nothing to look for", "give at least one expression or label")
    for text in texts:
        if not isinstance(text, str):
            raise ExpressionError(f"{text!r} is no text", "give expressions or labels as strings")
        clean(text)
    return texts

"""The protocol of referring expressions: is the predicted box the right one?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fovea.answers import Answer, Assignment
from fovea.datasets.subsets import says_position
from fovea.errors import DataError
from fovea.evaluation.examples import Example, Query
from fovea.evaluation.masks import Overlap, overlap_encoded, summarise_overlaps
from fovea.evaluation.results import Row, append, resume
from fovea.grounder import Grounder
from fovea.pictures import open_picture
from fovea.proposers import SEARCHES
from fovea.regions import Regions, box_iou

#: A box counts when its IoU with the right one is greater.
MIN_IOU = 0.5

#: Where proposals may come from.
PROPOSALS = ("ground-truth", "sam-boxes", "detections", *SEARCHES)

#: What a row of results must have to be counted.
NEEDED = frozenset({"key", "kind", "correct", "chance", "source"})


def _proposals(example: Example, proposals: str) -> Regions | None:
    """Regions to choose from: annotated, their boxes with SAM's masks, detected; None where pictures are searched."""
    if proposals == "ground-truth":
        return example.truth
    if proposals == "sam-boxes":
        return Regions(example.truth.boxes, example.truth.size, "ground-truth")
    if proposals == "detections":
        if example.detections is None:
            raise DataError("the data comes without detections", "choose other proposals, such as grid")
        return example.detections
    if proposals in SEARCHES:
        return None
    raise DataError(f"there are no proposals called {proposals!r}", f"known are {', '.join(PROPOSALS)}")


def _asked(example: Example, assignment: Assignment) -> list[Query]:
    """What is asked at once: for one-to-one assignment every region contributes its own text (specs/fgvp.md, f).

    Raises:
        DataError: regions have several texts, so that a region of its own cannot be found for each.
    """
    if assignment == "argmax":
        return list(example.queries)
    named = Counter(target for query in example.queries for target in query.targets)
    if max(named.values()) > 1:
        raise DataError(
            f"picture {example.key} has several expressions for one region, and one-to-one assigns each its own",
            "use --assignment argmax",
        )
    return [query for query in example.queries for _ in query.targets]


def measure(grounder: Grounder, example: Example, proposals: str, assignment: Assignment = "argmax") -> list[Row]:
    """All queries of one picture, which is looked at once; arguments as of :func:`evaluate_grounding`."""
    picture, queries = open_picture(example.picture), _asked(example, assignment)
    grounding = grounder.ground(
        picture,
        [query.text for query in queries],
        regions=_proposals(example, proposals),
        assignment=assignment,
    )
    overlaps = box_iou(grounding.regions.boxes, example.truth.boxes)
    # Where regions are too few for all texts, some get none, whoever assigns them.
    served = min(1.0, len(overlaps) / len(queries)) if assignment == "one-to-one" else 1.0
    rows = []
    for query, answer in zip(queries, grounding.answers, strict=True):
        right = np.asarray(overlaps[:, list(query.targets)].max(axis=1) > MIN_IOU)
        rows.append(
            {
                "key": example.key,
                "expression": query.text,
                "kind": query.kind,
                "correct": bool(answer.region is not None and right[answer.region]),
                # What a blind choice among the proposals would reach.
                "chance": served * float(right.mean()) if len(right) else 0.0,
                "score": round(answer.score, 6),
                "box": None if answer.box is None else [round(value, 2) for value in answer.box],
                "proposals": len(grounding.regions),
                "source": answer.provenance.proposals,
                "grid": answer.provenance.grid,
                "recipe": grounder.recipe,
                "models": grounder.models,
                **_mask_overlap(example, query, answer),
            }
        )
    return rows


def _mask_overlap(example: Example, query: Query, answer: Answer) -> Row:
    """Pixels that the answer's mask shares with the right one, and that both cover; nothing where there are no masks.

    Of several right regions the one that fits best counts.
    """
    if example.truth.masks is None or (answer.region is not None and answer.mask is None):
        return {}
    overlaps = [overlap_encoded(answer.mask, example.truth.masks[target]) for target in query.targets]
    best = max(overlaps, key=lambda one: one.iou)
    return {"intersection": best.intersection, "union": best.union}


def about(grounder: Grounder, proposals: str, assignment: Assignment, experiment: Mapping[str, str]) -> dict[str, str]:
    """What results depend on, for the first line of their file; arguments as of :func:`evaluate_grounding`."""
    named = {"recipe": grounder.recipe, "models": grounder.models, "proposals": proposals, "assignment": assignment}
    if proposals == "grid":
        named["grid"] = grounder.finder.grid.name
    return {**named, **experiment}


def evaluate_grounding(
    grounder: Grounder,
    examples: Sequence[Example],
    proposals: str,
    out: Path | None = None,
    advance: Callable[[], None] = lambda: None,
    experiment: Mapping[str, str] | None = None,
    assignment: Assignment = "argmax",
) -> list[Row]:
    """Ask every query of every example.

    Args:
        grounder: what is measured.
        examples: on what.
        proposals: one of ``PROPOSALS``.
        out: receives a line that says what was measured, then one line per picture, a JSON list of its rows; pictures
            that it holds already are not asked again.
        advance: called after every picture.
        experiment: what else the results depend on, such as the data and the weights; kept in ``out``.
        assignment: ``argmax`` asks every query once and on its own; ``one-to-one`` asks it once for every region that
            it means and gives no region to two texts, as FGVP's released script does.

    Returns:
        One row per query, or with ``one-to-one`` per annotated region.

    Raises:
        DataError: ``out`` holds something else, or results of another experiment; or the data does not suit the
            proposals or the assignment.
    """
    header = about(grounder, proposals, assignment, experiment or {})
    done = {} if out is None else resume(out, header, NEEDED)
    results: list[Row] = []
    for example in examples:
        rows = done.get(example.key)
        if rows is None:
            rows = measure(grounder, example, proposals, assignment) if example.queries else []
            if out is not None and rows:
                append(out, rows)
        results += rows
        advance()
    return results


def _share(rows: Sequence[Row]) -> dict[str, float | int]:
    count = len(rows)
    return {
        "n": count,
        "accuracy": round(sum(row["correct"] for row in rows) / count, 4) if count else 0.0,
        "chance": round(sum(row["chance"] for row in rows) / count, 4) if count else 0.0,
        **_mask_figures(rows),
    }


def _mask_figures(rows: Sequence[Row]) -> dict[str, float]:
    """mIoU, oIoU and precision at IoU, where every answer was compared with a mask."""
    if not rows or not all("union" in row for row in rows):
        return {}
    found = summarise_overlaps([Overlap(row["intersection"], row["union"]) for row in rows])
    return {name: round(value, 4) for name, value in found.items() if name != "n"}


def _position_subsets(rows: Sequence[Row]) -> dict[str, dict[str, float | int]]:
    """Figures of expressions that say a position and of all others; nothing where only one of them occurs."""
    if any(row["kind"] == "position" for row in rows):
        return {}
    said = [says_position(row.get("expression", "")) for row in rows]
    if len(set(said)) < 2:
        return {}
    parts = {
        name: [row for row, one in zip(rows, said, strict=True) if one == wanted]
        for name, wanted in (("position", True), ("other", False))
    }
    return {name: _share(part) for name, part in parts.items()}


def summarise(
    benchmark: str, recipe: str, models: str, rows: Sequence[Row], proposals: str, assignment: Assignment = "argmax"
) -> dict[str, Any]:
    """Accuracy of boxes and chance, and measures of masks, by kind of expression; with how the answers came about.

    Where the kinds do not tell expressions of position from others, but words do, both stand behind ``all``, as
    ``position`` and ``other``: the columns of IteRPrimE's table 5.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    sources = sorted({row["source"] for row in rows})
    grids = sorted({row["grid"] for row in rows if row.get("grid")})
    return {
        "benchmark": benchmark,
        "recipe": recipe,
        "n": len(rows),
        "metrics": {
            **{kind: _share([row for row in rows if row["kind"] == kind]) for kind in sorted(kinds)},
            "all": _share(rows),
            **_position_subsets(rows),
        },
        "provenance": {
            "models": models,
            "proposals": ", ".join(sources) or proposals,
            "assignment": assignment,
            **({"grid": "; ".join(grids)} if grids else {}),
        },
    }

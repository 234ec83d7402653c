"""The protocol of referring expressions: is the predicted box the right one?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fovea.errors import DataError
from fovea.evaluation.examples import Example
from fovea.grounder import Grounder
from fovea.pictures import open_picture
from fovea.regions import Regions, box_iou

#: A box counts when its IoU with the right one is greater.
MIN_IOU = 0.5

#: Where proposals may come from.
PROPOSALS = ("ground-truth", "sam-boxes", "grid")

Row = dict[str, Any]


def _proposals(example: Example, proposals: str) -> Regions | None:
    """Regions to choose from: the annotated ones, their boxes with SAM's masks, or None for SAM's grid."""
    if proposals == "ground-truth":
        return example.truth
    if proposals == "sam-boxes":
        return Regions(example.truth.boxes, example.truth.size, "ground-truth")
    if proposals == "grid":
        return None
    raise DataError(f"there are no proposals called {proposals!r}", f"known are {', '.join(PROPOSALS)}")


def _measure(grounder: Grounder, example: Example, proposals: str) -> list[Row]:
    """All queries of one picture in one go: the picture is looked at once."""
    picture = open_picture(example.picture)
    grounding = grounder.ground(
        picture, [query.text for query in example.queries], regions=_proposals(example, proposals)
    )
    overlaps = box_iou(grounding.regions.boxes, example.truth.boxes)
    rows = []
    for query, answer in zip(example.queries, grounding.answers, strict=True):
        right = overlaps[:, query.target] > MIN_IOU
        rows.append(
            {
                "key": example.key,
                "expression": query.text,
                "kind": query.kind,
                "correct": bool(answer.region is not None and right[answer.region]),
                # What a blind choice among the proposals would reach.
                "chance": float(right.mean()) if len(right) else 0.0,
                "score": round(answer.score, 6),
                "box": None if answer.box is None else [round(value, 2) for value in answer.box],
                "proposals": len(grounding.regions),
                "source": answer.provenance.proposals,
                "recipe": grounder.recipe,
                "models": grounder.models,
            }
        )
    return rows


def _read_rows(path: Path, grounder: Grounder, proposals: str) -> dict[str, list[Row]]:
    """Results of an earlier run by picture; a line that a kill cut off is dropped with its picture."""
    done: dict[str, list[Row]] = {}
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            rows = json.loads(line)
        except ValueError:
            break
        first = rows[0]
        if (first["recipe"], first["models"]) != (grounder.recipe, grounder.models):
            raise DataError(
                f"{path} holds results of recipe {first['recipe']} with models {first['models']}", "choose another file"
            )
        done[first["key"]] = rows
    kept = "".join(json.dumps(rows) + "\n" for rows in done.values())
    if kept != text:
        path.write_text(kept, encoding="utf-8")
    return done


def evaluate_grounding(
    grounder: Grounder,
    examples: Sequence[Example],
    proposals: str,
    out: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Ask every query of every example.

    Args:
        grounder: what is measured.
        examples: on what.
        proposals: one of ``PROPOSALS``.
        out: receives one line per picture, a JSON list of its rows; pictures that it holds already are not asked again.
        advance: called after every picture.

    Returns:
        One row per query.
    """
    done = _read_rows(out, grounder, proposals) if out is not None and out.exists() else {}
    results: list[Row] = []
    for example in examples:
        rows = done.get(example.key)
        if rows is None:
            rows = _measure(grounder, example, proposals) if example.queries else []
            if out is not None and rows:
                out.parent.mkdir(parents=True, exist_ok=True)
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows) + "\n")
        results += rows
        advance()
    return results


def _share(rows: Sequence[Row]) -> dict[str, float | int]:
    count = len(rows)
    return {
        "n": count,
        "accuracy": round(sum(row["correct"] for row in rows) / count, 4) if count else 0.0,
        "chance": round(sum(row["chance"] for row in rows) / count, 4) if count else 0.0,
    }


def summarise(benchmark: str, recipe: str, models: str, rows: Sequence[Row], proposals: str) -> dict[str, Any]:
    """Accuracy and chance by kind of expression and over all, with where the proposals came from."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    sources = sorted({row["source"] for row in rows})
    return {
        "benchmark": benchmark,
        "recipe": recipe,
        "n": len(rows),
        "metrics": {
            **{kind: _share([row for row in rows if row["kind"] == kind]) for kind in sorted(kinds)},
            "all": _share(rows),
        },
        "provenance": {"models": models, "proposals": ", ".join(sources) or proposals},
    }

"""What naming comes to: how often the right name is on top, over all regions and as the mean over classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fovea.evaluation.named_pictures import NamingBenchmark
from fovea.evaluation.naming import Naming, RegionForm
from fovea.evaluation.results import Row
from fovea.grounder import Grounder


def summarise(grounder: Grounder, benchmark: NamingBenchmark, form: RegionForm, naming: Naming) -> dict[str, Any]:
    """A JSON document.

    Args:
        grounder: what was measured.
        benchmark: on what.
        form: how regions were given.
        naming: the result.

    Returns:
        ``metrics`` has, over all and by group, ``n`` regions of so many ``classes``; ``top1`` and ``top5``, the shares
        of regions whose name is on top or among the best five; ``mean_top1`` and ``mean_top5``, the means over classes
        of each class's own share, as papers report them; and ``chance``, what a blind choice of one name would reach.
        ``provenance`` says how many regions came from where; ``failed`` names pictures that could not be looked at.
    """
    rows, chance = naming.rows, round(1 / len(benchmark.texts), 6)
    groups = sorted({row["group"] for row in rows} - {""})
    shares = {group: _shares([row for row in rows if row["group"] == group], chance) for group in groups}
    return {
        "benchmark": benchmark.name,
        "recipe": grounder.recipe,
        "n": len(rows),
        "metrics": {**shares, "all": _shares(rows, chance)},
        "provenance": {
            "models": grounder.models,
            "region": form,
            "names": len(benchmark.texts),
            "regions": dict(sorted(Counter(row["source"] for row in rows).items())),
        },
        "failed": [{"key": key, "reason": reason} for key, reason in naming.failed.items()],
    }


def _shares(rows: Sequence[Row], chance: float) -> dict[str, float | int]:
    by_class: dict[str, list[int]] = {}
    for row in rows:
        by_class.setdefault(row["class"], []).append(row["rank"])
    figures: dict[str, float | int] = {"n": len(rows), "classes": len(by_class)}
    for count in (1, 5):
        figures[f"top{count}"] = _share([row["rank"] for row in rows], count)
    for count in (1, 5):
        each = [sum(rank <= count for rank in found) / len(found) for found in by_class.values()]
        # A sum in the order of size is the same whatever the order of the pictures.
        figures[f"mean_top{count}"] = round(sum(sorted(each)) / len(each), 4) if each else 0.0
    return {**figures, "chance": chance}


def _share(found: Sequence[int], count: int) -> float:
    return round(sum(rank <= count for rank in found) / len(found), 4) if found else 0.0

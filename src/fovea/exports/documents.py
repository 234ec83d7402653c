"""The stable JSON documents of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fovea.answers import Provenance, RegionLabels
from fovea.grounder import Grounding
from fovea.pictures import Picture


def _head(picture: Picture, provenance: Provenance) -> dict[str, Any]:
    proposals: dict[str, Any] = {"source": provenance.proposals, "count": provenance.count}
    if provenance.grid:
        proposals["grid"] = provenance.grid
    return {
        "recipe": provenance.recipe,
        "models": provenance.models,
        "picture": {"path": picture.path, "width": picture.width, "height": picture.height},
        "proposals": proposals,
        "relations": provenance.relations,
    }


def answers_document(grounding: Grounding) -> dict[str, Any]:
    """What ``fovea find --json`` prints."""
    provenance = grounding.answers[0].provenance
    return {
        **_head(grounding.picture, provenance),
        "answers": [answer.to_json() for answer in grounding.answers],
    }


def labels_document(picture: Picture, results: Sequence[RegionLabels], provenance: Provenance) -> dict[str, Any]:
    """What ``fovea label --json`` prints."""
    return {**_head(picture, provenance), "regions": [result.to_json() for result in results]}

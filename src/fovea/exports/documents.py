"""The stable JSON documents of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fovea.answers import Provenance, RegionLabels
from fovea.grounder import Grounding
from fovea.pictures import Picture
from fovea.regions import Regions, rle_to_json


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


def descriptions_document(
    picture: Picture, regions: Regions, texts: Sequence[str], captioner: str, view: str
) -> dict[str, Any]:
    """What ``fovea describe --json`` prints."""
    masks = regions.masks or (None,) * len(regions)
    return {
        "models": captioner,
        "picture": {"path": picture.path, "width": picture.width, "height": picture.height},
        "proposals": {"source": regions.source, "count": len(regions)},
        "view": view,
        "regions": [
            {"box": box, "mask": None if mask is None else rle_to_json(mask), "text": text}
            for box, mask, text in zip(regions.boxes.astype(float).tolist(), masks, texts, strict=True)
        ],
    }

"""Scenes annotated as LVIS annotates: for some categories only, and for some of those in part.

What such an annotation says of a scene is true by construction, since everything in a scene is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Name of the annotations; the split is called ``scenes``.
LVIS_FILE = "lvis_scenes.json"

# Share of the kinds that stand in a scene several times of which one annotation is left out.
_IN_PART = 0.5


def federated(
    image: Mapping[str, Any], annotations: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Leave annotations out of an exhaustively annotated picture, and say so.

    Of every second kind that stands in it several times one annotation goes, and its category is named under
    ``not_exhaustive_category_ids``. The list of absent categories stays.

    Args:
        image: the picture's row in LVIS's form; its number decides what is left out.
        annotations: its rows.

    Returns:
        New rows of the picture and of the annotations that remain.
    """
    rng = np.random.default_rng((11, image["id"]))
    counts = Counter(row["category_id"] for row in annotations)
    partly = [number for number, count in sorted(counts.items()) if count > 1 and rng.random() < _IN_PART]
    dropped = set()
    for number in partly:
        places = [place for place, row in enumerate(annotations) if row["category_id"] == number]
        dropped.add(places[rng.integers(len(places))])
    rest = [row for place, row in enumerate(annotations) if place not in dropped]
    return {**image, "not_exhaustive_category_ids": partly}, rest


def federated_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a whole file in LVIS's form."""
    rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
    for row in document["annotations"]:
        rows[row["image_id"]].append(row)
    pairs = [federated(image, rows[image["id"]]) for image in document["images"]]
    annotations = [row for _, some in pairs for row in some]
    return {**document, "images": [image for image, _ in pairs], "annotations": annotations}

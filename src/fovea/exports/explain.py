"""The page that explains an answer: self-contained HTML without scripts."""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from fovea.exports.overlay import Outline, draw_overlay
from fovea.grounder import Grounding
from fovea.scorers import Step

# Marked pictures beyond this many regions are left out, best regions first: a page should open in a second.
_MOST_REGIONS = 40

# Longer sides are scaled down to this many pixels: WebP ends at 16383, and screens long before.
_LONGEST_SIDE = 4096


def _data_uri(image: Image.Image, *, lossless: bool = False) -> str:
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=lossless)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _heat(share: float) -> str:
    """Background of a cell: from white to a strong orange."""
    return f"rgb({255 - round(25 * share)}, {255 - round(96 * share)}, {255 - round(255 * share)})"


def _rows(grounding: Grounding) -> list[dict[str, Any]]:
    """One row per region, best first: marked pictures, and for every expression logit and share."""
    matrix = grounding.matrix
    shares = matrix.over_regions()
    order = np.argsort(-shares.max(axis=1, initial=0), kind="stable")[:_MOST_REGIONS]
    rows = []
    for row in order:
        cells = [
            {"logit": f"{matrix.values[row, column]:.2f}", "share": f"{share:.3f}", "colour": _heat(float(share))}
            for column, share in enumerate(shares[row])
        ]
        # What the model saw must show as it was.
        marked = [_data_uri(Image.fromarray(evidence.pictures[row]), lossless=True) for evidence in grounding.evidence]
        rows.append({"number": int(row), "box": [round(float(v), 1) for v in grounding.regions.boxes[row]],
                     "cells": cells, "marked": marked})  # fmt: skip
    return rows


def _step(step: Step) -> tuple[str, str]:
    return step.caption, _data_uri(Image.fromarray(step.picture))


def explanation(grounding: Grounding) -> str:
    """The page for a grounding that was made with ``explain=True``.

    Args:
        grounding: picture, matrix, answers, evidence and timings.

    Returns:
        HTML; every text in it is escaped.
    """
    found = [
        Outline(answer.box, answer.mask, answer.expression) for answer in grounding.answers if answer.box is not None
    ]
    template = resources.files("fovea.exports").joinpath("explain.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    return page.render(
        overlay=_data_uri(draw_overlay(grounding.picture, found)),
        picture=grounding.picture,
        answers=grounding.answers,
        provenance=grounding.answers[0].provenance,
        texts=grounding.matrix.texts,
        styles=[evidence.title for evidence in grounding.evidence],
        rows=_rows(grounding),
        traces=[(trace.text, list(map(_step, trace.steps))) for trace in grounding.traces],
        total=len(grounding.regions),
        seconds={stage: f"{seconds:.3f}" for stage, seconds in grounding.seconds.items()},
    )

"""Ensembles of templates: a name in many sentences, whose vectors become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.errors import ExpressionError
from fovea.language.templates import checked_template

#: How the vectors of a name's sentences become one of unit length: the mean of the vectors as the model projects them,
#: as RegionSpot was trained with; or of their directions, as CLIP's authors do it.
Reduce = Literal["raw_mean", "unit_mean"]

_IMAGENET = Path(__file__).parent / "clip_templates" / "templates.txt"


def imagenet_templates() -> tuple[str, ...]:
    """CLIP's 80 templates for ImageNet, and the bare name (specs/regionspot.md, 5). Each ends in a full stop."""
    return (*_IMAGENET.read_text(encoding="utf-8").splitlines(), "{}.")


#: Ensembles that have a name.
ENSEMBLES = {"imagenet": imagenet_templates}


def resolve_templates(wanted: str | Sequence[str]) -> tuple[str, ...]:
    """An ensemble by name, or templates as they are.

    Args:
        wanted: a name from :data:`ENSEMBLES`, or at least one template with ``{}`` in the name's place.

    Raises:
        ExpressionError: there is no such ensemble, or a template has no place for the name.
    """
    if isinstance(wanted, str):
        if wanted not in ENSEMBLES:
            raise ExpressionError(f"there are no templates called {wanted!r}", f"known are {', '.join(ENSEMBLES)}")
        return ENSEMBLES[wanted]()
    if not wanted or not all(isinstance(one, str) for one in wanted):
        raise ExpressionError("an ensemble needs at least one template", "such as: a photo of a {}.")
    return tuple(map(checked_template, wanted))


def known_reduce(name: str) -> Reduce:
    """A way to join vectors by name.

    Raises:
        ExpressionError: there is no such way.
    """
    known: tuple[Reduce, ...] = get_args(Reduce)
    error = ExpressionError(f"templates cannot be joined by {name!r}", f"known are {' and '.join(known)}")
    return chosen(name, known, error)


def sentences(name: str, templates: Sequence[str]) -> list[str]:
    """A name in every template, unchanged: underscores, brackets and capitals stay (specs/regionspot.md, 5)."""
    return [template.replace("{}", name) for template in templates]


def joined(vectors: np.ndarray, reduce: Reduce) -> np.ndarray:
    """One vector for every name.

    Args:
        vectors: ``(N, T, D)`` float32 of N names in T templates, as the model projects them.
        reduce: how they are joined.

    Returns:
        ``(N, D)`` float32 of unit length.
    """
    rows = _unit(vectors) if reduce == "unit_mean" else vectors
    return _unit(rows.mean(axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), np.float32)

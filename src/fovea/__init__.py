"""fovea: look at a place in a picture, or point at one.

    >>> import fovea
    >>> grounder = fovea.load("fgvp")
    >>> answer = grounder.find("scene.png", "the red car left of the tree")[0]
    >>> answer.box, answer.score

Heavy libraries are imported when they are first needed: importing fovea is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fovea.answers import Answer, RegionLabels, ScoreMatrix
    from fovea.errors import FoveaError
    from fovea.grounder import Grounder, Grounding
    from fovea.pictures import Picture, open_picture
    from fovea.recipes import load
    from fovea.regions import Regions

_HOMES = {
    "Answer": "answers",
    "FoveaError": "errors",
    "Grounder": "grounder",
    "Grounding": "grounder",
    "Picture": "pictures",
    "RegionLabels": "answers",
    "Regions": "regions",
    "ScoreMatrix": "answers",
    "load": "recipes",
    "open_picture": "pictures",
}

__all__ = [
    "load",
    "open_picture",
    "Grounder",
    "Grounding",
    "Regions",
    "Answer",
    "RegionLabels",
    "ScoreMatrix",
    "Picture",
    "FoveaError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"fovea.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fovea' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Visual prompts: ways of marking a region on a picture, so that a model that knows only whole pictures looks there.

Every style is a geometry (which part of the picture the region claims) and an effect (what is done with it).
"""

from fovea.marks.direct import render
from fovea.marks.styles import STYLES, Effect, Geometry, MarkOptions, MarkStyle, parse_style

__all__ = ["STYLES", "Effect", "Geometry", "MarkOptions", "MarkStyle", "parse_style", "render"]

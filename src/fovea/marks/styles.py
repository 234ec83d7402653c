"""The taxonomy of visual prompts: geometry x effect, on the picture or on a crop of it.

The letters and numbers of the FGVP paper (``D4``) and the names of its released program (``blur_mask``) are aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fovea.errors import ExpressionError, RegionError


class Geometry(Enum):
    """Which part of the picture a region claims."""

    WHOLE = "whole"
    POINT = "point"
    BOX = "box"
    ELLIPSE = "ellipse"
    MASK = "mask"


class Effect(Enum):
    """What is done, and where it is seen from the region."""

    NONE = "raw"
    LINE = "line-around"
    FILL = "fill-inside"
    GRAY = "gray-outside"
    BLUR = "blur-outside"
    FILL_OUTSIDE = "fill-outside"
    HIDE = "hide-outside"


@dataclass(frozen=True)
class MarkStyle:
    """One visual prompt.

    Attributes:
        geometry: which part of the picture the region claims.
        effect: what is done with it; ``NONE`` shows the picture or the crop as it is.
        cropped: show the region's box alone instead of the whole picture.
    """

    geometry: Geometry
    effect: Effect
    cropped: bool = False

    @property
    def name(self) -> str:
        """A readable name, such as ``blur-outside-mask``."""
        if self.effect is Effect.NONE:
            return "crop" if self.cropped else "raw"
        if self.cropped and self.geometry is Geometry.WHOLE:
            return "crop-fill"
        return f"{'crop-' * self.cropped}{self.effect.value}-{self.geometry.value}"

    @property
    def code(self) -> str:
        """The paper's code, such as ``D4``; for styles that it has no letter for, the readable name."""
        return next((code for code, style in _CODES.items() if style == self), self.name)

    @property
    def needs_masks(self) -> bool:
        """Whether boxes alone do not do."""
        return self.geometry is Geometry.MASK


@dataclass(frozen=True)
class MarkOptions:
    """How marks look; the defaults are those of the released FGVP runs.

    Attributes:
        line_colour: RGB 0..255.
        thickness: of lines as OpenCV counts it, in pixels of the marking size: 2 draws three pixels.
        fill_colour: RGB 0..255.
        alpha: opacity of fills, 0..1.
        blur_sigma: spread of the blur in pixels of the marking size.
        contour_scale: by how much masks and ellipses grow about their centre before they are drawn.
        crop_margin: how much crops are widened on every side, in shares of the box's sides.
        marking_size: shorter side of the picture that marks are drawn on.
    """

    line_colour: tuple[int, int, int] = (255, 0, 0)
    thickness: int = 2
    fill_colour: tuple[int, int, int] = (0, 255, 0)
    alpha: float = 0.5
    blur_sigma: float = 100.0
    contour_scale: float = 1.0
    crop_margin: float = 0.0
    marking_size: int = 384

    def __post_init__(self) -> None:
        for name in ("line_colour", "fill_colour"):
            colour = tuple(getattr(self, name))
            if len(colour) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
                raise RegionError(f"{name} is {colour}", "give red, green and blue as whole numbers from 0 to 255")
            object.__setattr__(self, name, colour)
        if not 0 <= self.alpha <= 1:
            raise RegionError(f"alpha is {self.alpha}", "give an opacity from 0 to 1")
        least = {"blur_sigma": 0, "thickness": 1, "marking_size": 1, "crop_margin": 0, "contour_scale": 0.01}
        for name, limit in least.items():
            # "not >=" also refuses what is not a number.
            if not limit <= getattr(self, name) < float("inf"):
                raise RegionError(f"{name} is {getattr(self, name)}", f"give at least {limit}")


#: The colours that the released program knows by name.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "cpt_red": (240, 0, 30),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (124, 116, 104),
}

_LETTERED = {"B": Geometry.BOX, "C": Geometry.ELLIPSE, "D": Geometry.MASK}
_NUMBERED = (Effect.LINE, Effect.FILL, Effect.GRAY, Effect.BLUR)
_CODES: dict[str, MarkStyle] = {
    "I": MarkStyle(Geometry.WHOLE, Effect.NONE),
    "P": MarkStyle(Geometry.WHOLE, Effect.NONE, cropped=True),
    "A1": MarkStyle(Geometry.POINT, Effect.LINE),
    "A2": MarkStyle(Geometry.WHOLE, Effect.FILL, cropped=True),
    **{
        f"{letter}{number}": MarkStyle(geometry, effect)
        for letter, geometry in _LETTERED.items()
        for number, effect in enumerate(_NUMBERED, 1)
    },
}
# Styles of the released program that the paper has no letter for.
_UNLETTERED = {
    "reverse_box_mask": MarkStyle(Geometry.BOX, Effect.FILL_OUTSIDE),
    "reverse_circle_mask": MarkStyle(Geometry.ELLIPSE, Effect.FILL_OUTSIDE),
    "reverse_mask": MarkStyle(Geometry.MASK, Effect.FILL_OUTSIDE),
    "cpt_seg": MarkStyle(Geometry.MASK, Effect.FILL, cropped=True),
    "ov_seg": MarkStyle(Geometry.MASK, Effect.HIDE, cropped=True),
    "blur_seg": MarkStyle(Geometry.MASK, Effect.BLUR, cropped=True),
}
# What the released program calls the lettered styles, in their order.
_RELEASED = (
    "none crop keypoint cpt "
    "box box_mask grayscale_box_mask blur_box_mask "
    "circle circle_mask grayscale_circle_mask blur_circle_mask "
    "contour mask grayscale_mask blur_mask"
)

#: Every style by its readable name, lettered ones first.
STYLES: dict[str, MarkStyle] = {style.name: style for style in (*_CODES.values(), *_UNLETTERED.values())}

#: Every style by the name that the released program has for it.
RELEASED: dict[str, MarkStyle] = dict(zip(_RELEASED.split(), _CODES.values(), strict=True)) | _UNLETTERED

_ALIASES = {code.lower(): style for code, style in _CODES.items()} | RELEASED | {"red-circle": _CODES["C1"]}


def parse_style(text: str) -> MarkStyle:
    """A style by its readable name, the paper's code or the released program's name, in any case.

    Raises:
        ExpressionError: there is no such style.
    """
    wanted = text.strip().lower()
    style = STYLES.get(wanted) or _ALIASES.get(wanted)
    if style is None:
        known = ", ".join(f"{name} ({style.code})" for name, style in STYLES.items())
        raise ExpressionError(f"there is no visual prompt called {text!r}", f"known are: {known}")
    return style

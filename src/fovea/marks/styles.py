"""The taxonomy of visual prompts: geometry x effect, with the letters and numbers of the FGVP paper as aliases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fovea.errors import ExpressionError, RegionError


class Geometry(Enum):
    """Which part of the picture a region claims; the values are the letters of the FGVP paper."""

    WHOLE = "I"
    CROP = "P"
    BOX = "B"
    ELLIPSE = "C"
    MASK = "D"


class Effect(Enum):
    """What is done with it; the values are the numbers of the FGVP paper."""

    NONE = ""
    LINE = "1"
    FILL = "2"
    GRAY = "3"
    BLUR = "4"


# Where an effect works, seen from the region.
_WHERE = {
    Effect.LINE: "line-around",
    Effect.FILL: "fill-inside",
    Effect.GRAY: "gray-outside",
    Effect.BLUR: "blur-outside",
}


@dataclass(frozen=True)
class MarkStyle:
    """One visual prompt.

    Attributes:
        geometry: which part of the picture the region claims.
        effect: what is done with it; ``NONE`` for the bare picture and the plain crop.
    """

    geometry: Geometry
    effect: Effect

    @property
    def code(self) -> str:
        """The paper's code, such as ``D4``."""
        return self.geometry.value + self.effect.value

    @property
    def name(self) -> str:
        """A readable name, such as ``blur-outside-mask``."""
        if self.effect is Effect.NONE:
            return "raw" if self.geometry is Geometry.WHOLE else "crop"
        return f"{_WHERE[self.effect]}-{self.geometry.name.lower()}"

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
        marking_size: shorter side of the picture that marks are drawn on.
    """

    line_colour: tuple[int, int, int] = (255, 0, 0)
    thickness: int = 2
    fill_colour: tuple[int, int, int] = (0, 255, 0)
    alpha: float = 0.5
    blur_sigma: float = 100.0
    marking_size: int = 384

    def __post_init__(self) -> None:
        for name in ("line_colour", "fill_colour"):
            colour = tuple(getattr(self, name))
            if len(colour) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
                raise RegionError(f"{name} is {colour}", "give red, green and blue as whole numbers from 0 to 255")
            object.__setattr__(self, name, colour)
        if not 0 <= self.alpha <= 1:
            raise RegionError(f"alpha is {self.alpha}", "give an opacity from 0 to 1")
        # "not >" also refuses what is not a number.
        if not self.blur_sigma >= 0 or not self.thickness >= 1 or not self.marking_size >= 1:
            raise RegionError("blur_sigma, thickness or marking_size is too small", "give at least 0, 1 and 1")


def _all_styles() -> dict[str, MarkStyle]:
    styles = [MarkStyle(Geometry.WHOLE, Effect.NONE), MarkStyle(Geometry.CROP, Effect.NONE)]
    for geometry in (Geometry.BOX, Geometry.ELLIPSE, Geometry.MASK):
        for effect in (Effect.LINE, Effect.FILL, Effect.GRAY, Effect.BLUR):
            # A line around a mask follows its contour, which no renderer draws yet.
            if (geometry, effect) != (Geometry.MASK, Effect.LINE):
                styles.append(MarkStyle(geometry, effect))
    return {style.name: style for style in styles}


#: Every style by its readable name.
STYLES: dict[str, MarkStyle] = _all_styles()

_ALIASES = {style.code.lower(): style for style in STYLES.values()} | {
    "red-circle": MarkStyle(Geometry.ELLIPSE, Effect.LINE),
}


def parse_style(text: str) -> MarkStyle:
    """A style by its readable name or the paper's code, in any case.

    Raises:
        ExpressionError: there is no such style.
    """
    wanted = text.strip().lower()
    style = STYLES.get(wanted) or _ALIASES.get(wanted)
    if style is None:
        known = ", ".join(f"{name} ({style.code})" for name, style in STYLES.items())
        raise ExpressionError(f"there is no visual prompt called {text!r}", f"known are: {known}")
    return style

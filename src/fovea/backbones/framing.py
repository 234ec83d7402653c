"""From a picture and its alpha map to a model's square input: one geometry for both (specs/alphaclip.md, 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from fovea.errors import PictureError
from fovea.pictures import Picture

#: How an oblong picture becomes square: all of it squashed, as in referring expressions; the middle of it, as CLIP was
#: trained; or all of it with black bars, as Alpha-CLIP was trained.
Fit = Literal["squash", "crop", "pad"]


@dataclass(frozen=True)
class Framing:
    """How pictures and their alpha maps are brought to a model's input size.

    Attributes:
        fit: how an oblong picture becomes square. Bars count as what their alpha says: looked at where the whole
            picture is, as in training, and not looked at otherwise.
        antialias: whether shrinking averages. The versions of torchvision that Alpha-CLIP was trained and measured
            with did not, where pictures and masks were tensors.
        floats: whether colours are resampled as floats, which may leave 0..1, as in Alpha-CLIP's training data, and
            not in 8 bits by Pillow, as CLIP's own preprocessing does. Pillow always averages.
    """

    fit: Fit = "squash"
    antialias: bool = True
    floats: bool = False

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise PictureError(f"there is no fit called {self.fit!r}", f"known are {', '.join(get_args(Fit))}")

    def colours(self, picture: Picture, side: int) -> np.ndarray:
        """A picture as a model takes it.

        Args:
            picture: what is looked at.
            side: of the square input in pixels.

        Returns:
            ``(side, side, 3)`` float32; in 0..1 unless resampled as floats.
        """
        if not self.floats:
            return np.asarray(self._in_8_bits(picture.image, side), np.float32) / 255
        cut = _square(picture.pixels, self.fit)
        planes = torch.from_numpy(cut.astype(np.float32) / 255).permute(2, 0, 1)
        return _resampled(planes, (side, side), "bicubic", self.antialias).permute(1, 2, 0).contiguous().numpy()

    def alpha(self, alpha: np.ndarray, side: int) -> np.ndarray:
        """An alpha map in the same geometry.

        Args:
            alpha: ``(H, W)`` float32 in 0..1, of the picture's size.
            side: of the square input in pixels.

        Returns:
            ``(side, side)`` float32 in 0..1.
        """
        if self.fit == "crop" and not self.floats:
            width, height = _shorter_side((alpha.shape[1], alpha.shape[0]), side)
            left, top = _middle((width, height), side)
            plane = _resampled(torch.from_numpy(alpha)[None], (height, width), "bilinear", self.antialias)[0]
            return plane[top : top + side, left : left + side].contiguous().numpy()
        # Of a picture that is meant as a whole the bars are meant too, as in training.
        cut = _square(alpha, self.fit, fill=float(alpha.min() == 1))
        return _resampled(torch.from_numpy(cut)[None], (side, side), "bilinear", self.antialias)[0].numpy()

    def _in_8_bits(self, image: Image.Image, side: int) -> Image.Image:
        if self.fit == "crop":
            scaled = image.resize(_shorter_side(image.size, side), Image.Resampling.BICUBIC)
            left, top = _middle(scaled.size, side)
            return scaled.crop((left, top, left + side, top + side))
        if self.fit == "pad":
            image = Image.fromarray(_square(np.asarray(image), "pad"))
        return image.resize((side, side), Image.Resampling.BICUBIC)


def _shorter_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of a picture whose shorter side is brought to ``side``."""
    width, height = size
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)


def _middle(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Left and top of the square in the middle."""
    return round((size[0] - side) / 2), round((size[1] - side) / 2)


def _square(array: np.ndarray, fit: Fit, fill: float = 0) -> np.ndarray:
    """``(H, W, ...)`` cut or padded to a square as the released data sets do, or as it is where it is squashed."""
    height, width = array.shape[:2]
    if fit == "squash" or height == width:
        return array
    if fit == "crop":
        side = min(height, width)
        top, left = height // 2 - side // 2, width // 2 - side // 2
        return array[top : top + side, left : left + side]
    rows, columns = max(height, width) - height, max(height, width) - width
    bars = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)][: array.ndim]
    return np.pad(array, bars, constant_values=fill)


def _resampled(planes: torch.Tensor, size: tuple[int, int], mode: str, antialias: bool) -> torch.Tensor:
    """``(C, H, W)`` to ``(C, *size)``."""
    return F.interpolate(planes[None], size, mode=mode, antialias=antialias, align_corners=False)[0]

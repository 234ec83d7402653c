"""Opening pictures: from a path, bytes, Pillow or numpy to upright RGB, within limits."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fovea.errors import PictureError

#: Largest picture that is decoded, in pixels.
MAX_PIXELS = 40_000_000

# Pillow knows many more, some of which run other programs (EPS) or are rarely tested. TGA has no signature: last.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "TIFF", "WEBP", "TGA",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded, upright picture.

    Attributes:
        image: Pillow image, mode ``RGB``, fully loaded.
        path: where it came from, as the caller wrote it, or None.
    """

    image: Image.Image
    path: str | None = None

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.image.height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @cached_property
    def pixels(self) -> np.ndarray:
        """``(height, width, 3)`` uint8 RGB, read-only."""
        pixels = np.asarray(self.image)
        pixels.setflags(write=False)
        return pixels

    @cached_property
    def key(self) -> str:
        """Hash of size and pixels: equal for equal pictures, whatever file they came from."""
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @cached_property
    def is_blank(self) -> bool:
        """Whether every pixel is the same: then there is nothing to find."""
        return all(low == high for low, high in self.image.getextrema())  # type: ignore[misc]


PictureSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Picture


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"the picture has {width} x {height} pixels, more than the limit of {max_pixels / 1e6:g} megapixels",
            "scale it down or raise max_pixels",
        )


def _from_array(array: np.ndarray, max_pixels: int) -> Image.Image:
    """``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; bool, uint8, uint16, or float in 0..1."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise PictureError(f"an array of shape {array.shape} is no picture", "give (H, W), (H, W, 3) or (H, W, 4)")
    _check_size(array.shape[1], array.shape[0], max_pixels)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise PictureError("a float array must hold values from 0 to 1", "divide by 255 or pass uint8")
        array = (array * 255 + 0.5).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise PictureError(f"an array of type {array.dtype} is no picture", "pass uint8, uint16, bool or floats 0..1")
    return Image.fromarray(np.ascontiguousarray(array))


def _decode(source: str | os.PathLike[str] | bytes, max_pixels: int, at_least: int | None = None) -> Image.Image:
    """Open a file or its bytes; the size is checked on the header, before any pixel is decoded."""
    name = "these bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        if not source:
            raise PictureError("the picture is empty: zero bytes")
        stream: io.BytesIO | Path = io.BytesIO(source)
    else:
        if "://" in name:
            raise PictureError(f"{name} is an address, not a file", "download the picture and pass its path")
        stream = Path(source)
        # Path.is_file raises for what cannot be asked about, such as an endless name or a closed folder.
        if not os.path.isfile(name):  # noqa: PTH113
            raise PictureError(f"there is no picture at {name!r}", "check the path")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures on its own terms; the limit here is ours.
            warnings.simplefilter("ignore")
            Image.init()
            image = Image.open(stream, formats=[kind for kind in _FORMATS if kind in Image.OPEN])
            _check_size(*image.size, max_pixels)
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            return image
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is larger than any sensible picture", "scale it down") from error
    except Exception as error:
        # Decoders fail in many ways on damaged data, and every one of them means the same to the user.
        raise PictureError(
            f"{name} is not a readable picture ({type(error).__name__})", "is the file complete?"
        ) from error


def _from_32_bits(values: np.ndarray) -> np.ndarray:
    """``(H, W)`` int32 or float32 to uint8, by the range that :func:`open_picture` names.

    Raises:
        PictureError: a value is negative, above 65535 or not finite.
    """
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 65535):
        raise PictureError(
            f"the picture holds values from {low:g} to {high:g}", "scale them to 0..1, 0..255 or 0..65535"
        )
    top = 1 if values.dtype.kind == "f" and high <= 1 else 255 if high <= 255 else 65535
    return (values * (255 / top) + 0.5).astype(np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB; transparency is laid over white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_from_32_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def open_picture(source: PictureSource, *, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> Picture:
    """Open a picture.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array: ``(H, W)``, ``(H, W, 1|3|4)`` of bool,
            uint8, uint16 or floats in 0..1. A ``Picture`` is returned as it is. Gray files of 32 bits do not say their
            range: floats up to 1 are 0..1, values up to 255 are 8 bits, brighter ones 16 bits.
        max_pixels: pictures with more pixels are refused before they are decoded.
        at_least: JPEG files may be decoded to a half, a quarter or an eighth of their sides, which is several times
            faster, as long as both sides keep this many pixels; None to decode all of it.

    Returns:
        The picture, upright (EXIF orientation applied), RGB; of an animation the first frame, transparency over white.

    Raises:
        PictureError: it cannot be opened, or is too large.
    """
    if isinstance(source, Picture):
        _check_size(*source.size, max_pixels)
        return source
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(source, np.ndarray):
        image = _from_array(source, max_pixels)
    elif isinstance(source, Image.Image):
        image = source
        _check_size(*image.size, max_pixels)
    elif isinstance(source, bytes | str | os.PathLike):
        image = _decode(source, max_pixels, at_least)
    else:
        raise PictureError(f"a {type(source).__name__} is no picture", "pass a path, bytes, a Pillow image or an array")
    try:
        upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright)
        rgb.load()
    except PictureError:
        raise
    except Exception as error:
        # Damage in metadata and palettes shows only now, in as many ways as damage in pixels.
        raise PictureError(
            f"the picture cannot be converted to RGB ({type(error).__name__})", "is the file complete?"
        ) from error
    return Picture(rgb, path)


def open_cut_out(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a picture that is transparent where nothing is.

    Args:
        path: of the file.
        max_pixels: pictures with more pixels are refused before they are decoded.

    Returns:
        A Pillow image of mode ``RGBA``, upright.

    Raises:
        PictureError: it cannot be opened, or is too large.
    """
    image = _decode(path, max_pixels)
    try:
        return ImageOps.exif_transpose(image).convert("RGBA")
    except Exception as error:
        raise PictureError(f"{path} cannot be converted ({type(error).__name__})", "is the file complete?") from error

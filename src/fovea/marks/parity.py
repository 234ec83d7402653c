"""Marks exactly as the released FGVP program draws them, aliasing and all (specs/fgvp.md, a).

Everything here is meant to be bit-equal, so the steps look clumsier than they need to be: bilinear resampling without
antialiasing, boolean masks that grow a little, red and blue swapped in the gray weights. Lines and filled ellipses need
OpenCV (the extra ``parity``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageFilter

from fovea.errors import MissingExtraError, RegionError
from fovea.marks.styles import Effect, Geometry, MarkOptions, MarkStyle

if TYPE_CHECKING:
    from torch import Tensor

#: How a marked picture becomes square.
Processing = Literal["resize", "center_crop", "bias_crop", "padding"]

# Weights of OpenCV's gray conversion in 15-bit fixed point, meant for blue, green, red. They meet red, green, blue.
_GRAY_WEIGHTS = np.array([3735, 19235, 9798], np.float32)


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture scaled for marking, with its regions.

    Attributes:
        pixels: ``(H, W, 3)`` uint8.
        boxes: ``(N, 4)`` float32 xyxy, clamped to the last pixel.
        masks: ``(N, H, W)`` bool, or None.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray | None


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("drawing lines as the released programs do", "parity") from error
    return cv2


def resize_bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resampling without antialiasing.

    Args:
        values: ``(N, C, H, W)`` float32.
        size: height and width to come to.

    Returns:
        ``(N, C, height, width)`` float32.
    """
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(values)
    if values.shape[2] == size[0]:
        # The picture's shorter side often has its length already. Rows alone take a quarter of the time.
        rows = interpolate(tensor.flatten(1, 2), size=size[1], mode="linear", align_corners=False)
        return np.asarray(rows.view(*values.shape[:3], size[1]).numpy())
    # Colours side by side are resampled twice as fast.
    layout = torch.channels_last if values.shape[1] == 3 else torch.contiguous_format
    tensor = tensor.contiguous(memory_format=layout)
    return np.asarray(interpolate(tensor, size=size, mode="bilinear", align_corners=False).numpy())


def scale_frame(
    pixels: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    marking_size: int,
    *,
    processing: Processing = "resize",
    crop_share: float = 1.0,
) -> Frame:
    """Scale picture, boxes and masks to the size that marks are drawn at (steps 2 to 4).

    Args:
        pixels: ``(H, W, 3)`` uint8.
        boxes: ``(N, 4)`` float32 xyxy pixels of that picture.
        masks: ``(N, H, W)`` bool, or float logits whose zero level is the outline, or None.
        marking_size: shorter side to come to; the longer one with ``padding``.
        processing: how the picture will become square.
        crop_share: the shorter side becomes ``marking_size / crop_share``.
    """
    height, width = pixels.shape[:2]
    if processing == "padding":
        scale = marking_size / max(height, width)
    else:
        scale = marking_size / crop_share / min(height, width)
    new_width, new_height = int(width * scale + 0.5), int(height * scale + 0.5)
    resized = Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR)
    ratio = np.array([new_width / width, new_height / height] * 2, np.float32)
    limit = np.array([new_width - 1, new_height - 1] * 2, np.float32)
    scaled = np.clip(np.asarray(boxes, np.float32) * ratio, 0, limit)
    if masks is not None:
        # "Any weight at all" for boolean masks, which widens them a little; the zero level for logits.
        masks = resize_bilinear(masks[:, None].astype(np.float32), (new_height, new_width))[:, 0] > 0
    return Frame(np.asarray(resized), scaled, masks)


def _ellipse_geometry(box: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Centre and semi-axes, truncated to whole pixels."""
    x1, y1, x2, y2 = (np.float32(value) for value in box)
    return (int((x1 + x2) / 2), int((y1 + y2) / 2)), (int((x2 - x1) / 2), int((y2 - y1) / 2))


def _outline(shape: np.ndarray, scale: float) -> list[np.ndarray]:
    """The contours of a mask, of its holes too, each scaled about its own centroid in whole pixels."""
    cv2 = _cv2()
    contours = list(cv2.findContours(shape.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
    if scale == 1:
        return contours
    return [_scaled_contour(contour, scale) for contour in contours]


def _scaled_contour(contour: np.ndarray, scale: float) -> np.ndarray:
    moments = _cv2().moments(contour)
    if moments["m00"] == 0:
        # A line or a point has no centroid to scale about.
        return contour
    centroid = np.array([int(moments["m10"] / moments["m00"]), int(moments["m01"] / moments["m00"])])
    return np.asarray(((contour - centroid) * scale + centroid).astype(np.int32))


def _region(frame: Frame, index: int, geometry: Geometry, scale: float) -> np.ndarray:
    """``(H, W)`` bool: what a region claims, corners included."""
    inside = np.zeros(frame.pixels.shape[:2], np.uint8)
    if geometry is Geometry.BOX:
        x1, y1, x2, y2 = (int(value) for value in frame.boxes[index])
        inside[y1 : y2 + 1, x1 : x2 + 1] = 1
        return inside.astype(bool)
    if geometry is Geometry.ELLIPSE:
        center, axes = _ellipse_geometry(frame.boxes[index])
        _cv2().ellipse(inside, center, axes, 0, 0, 360, 1, -1)
    else:
        if frame.masks is None:
            raise RegionError("this style needs masks", "let a segmenter add them")
        inside = frame.masks[index].astype(np.uint8)
    if scale != 1:
        # The even-odd rule keeps holes, each about its own centre.
        contours = _outline(inside, scale)
        inside = np.zeros_like(inside)
        _cv2().fillPoly(inside, contours, 1)
    return inside.astype(bool)


def _line(frame: Frame, index: int, geometry: Geometry, options: MarkOptions) -> np.ndarray:
    """``(H, W)`` bool: the pixels of a line."""
    drawn, cv2 = np.zeros(frame.pixels.shape[:2], np.uint8), _cv2()
    look = (1, options.thickness)
    center, axes = _ellipse_geometry(frame.boxes[index])
    if geometry is Geometry.BOX:
        x1, y1, x2, y2 = (int(value) for value in frame.boxes[index])
        cv2.rectangle(drawn, (x1, y1), (x2, y2), *look)
    elif geometry is Geometry.POINT:
        cv2.circle(drawn, center, int(0.06 * options.marking_size), *look)
    elif geometry is Geometry.ELLIPSE:
        cv2.ellipse(drawn, center, axes, 0, 0, 360, *look)
    else:
        shape = _region(frame, index, geometry, 1.0)
        cv2.drawContours(drawn, _outline(shape, options.contour_scale), -1, *look)
    return drawn.astype(bool)


def _filled(pixels: np.ndarray, options: MarkOptions) -> np.ndarray:
    colour = np.asarray(options.fill_colour, np.float32)
    mixed = np.float32(options.alpha) * colour + np.float32(1 - options.alpha) * pixels
    return np.asarray(np.rint(mixed).astype(np.uint8))


def _gray(pixels: np.ndarray) -> np.ndarray:
    # Whole numbers below 2^24 are exact in 32-bit floats, whose products are much quicker.
    weighted = pixels.astype(np.float32) @ _GRAY_WEIGHTS + np.float32(1 << 14)
    return np.repeat((weighted * np.float32(2**-15)).astype(np.uint8)[..., None], 3, axis=-1)


def _blurred(pixels: np.ndarray, options: MarkOptions) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(options.blur_sigma)))


def _sides(pixels: np.ndarray, effect: Effect, options: MarkOptions) -> tuple[np.ndarray, np.ndarray]:
    """What an effect shows inside of regions (on lines) and what outside: two pictures, the same for all regions."""
    if effect is Effect.NONE:
        return pixels, pixels
    if effect is Effect.LINE:
        return np.broadcast_to(np.asarray(options.line_colour, np.uint8), pixels.shape), pixels
    if effect is Effect.FILL:
        return _filled(pixels, options), pixels
    if effect is Effect.FILL_OUTSIDE:
        return pixels, _filled(pixels, options)
    if effect is Effect.HIDE:
        return pixels, np.broadcast_to(np.asarray(options.fill_colour, np.uint8), pixels.shape)
    if effect is Effect.GRAY:
        return pixels, _gray(pixels)
    return pixels, _blurred(pixels, options)


def _shapes(frame: Frame, style: MarkStyle, options: MarkOptions) -> np.ndarray:
    """``(N, H, W)`` bool: where each region shows the inside."""
    if style.cropped:
        raise RegionError(f"{style.name} is a style of crops", "draw_crop makes these")
    shapes = np.zeros((len(frame.boxes), *frame.pixels.shape[:2]), bool)
    if style.effect is Effect.NONE:
        return shapes
    for index, shape in enumerate(shapes):
        if style.effect is Effect.LINE:
            shape[:] = _line(frame, index, style.geometry, options)
        else:
            shape[:] = _region(frame, index, style.geometry, options.contour_scale)
    return shapes


def draw_marks(frame: Frame, style: MarkStyle, options: MarkOptions) -> np.ndarray:
    """Mark every region of a frame: ``(N, H, W, 3)`` uint8. Blur and gray are computed once for all of them.

    Args:
        frame: picture and regions at marking size.
        style: any that shows the whole picture.
        options: how marks look.

    Raises:
        RegionError: the style needs masks and there are none, or is one of crops (:func:`draw_crop` makes those).
    """
    shapes = _shapes(frame, style, options)
    inside, outside = _sides(frame.pixels, style.effect, options)
    return np.where(shapes[..., None], inside, outside)


def draw_crop(
    pixels: np.ndarray,
    box: np.ndarray,
    mask: np.ndarray | None,
    style: MarkStyle,
    options: MarkOptions,
    *,
    processing: Processing = "resize",
    crop_share: float = 1.0,
) -> np.ndarray:
    """The crop family of the released renderer: cut out, scaled as whole pictures are, then marked.

    Args:
        pixels: ``(H, W, 3)`` uint8.
        box: ``(4,)`` xyxy pixels; corners are truncated, and nothing is narrower than a pixel.
        mask: ``(H, W)`` bool or logits, where the style needs it.
        style: one that is cropped.
        options: how marks look.
        processing: how the crop will become square.
        crop_share: see :func:`scale_frame`.

    Returns:
        ``(h, w, 3)`` uint8.
    """
    x1, y1, x2, y2 = (int(value) for value in box)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    part = None if mask is None else mask[None, y1:y2, x1:x2]
    if style.needs_masks and part is None:
        raise RegionError("this style needs masks", "let a segmenter add them")
    frame = scale_frame(
        pixels[y1:y2, x1:x2],
        np.zeros((1, 4), np.float32),
        part if style.needs_masks else None,
        options.marking_size,
        processing=processing,
        crop_share=crop_share,
    )
    if style.effect is Effect.NONE:
        return frame.pixels
    inside, outside = _sides(frame.pixels, style.effect, options)
    if frame.masks is None:
        return inside
    return np.where(frame.masks[0][..., None], inside, outside)


def _planes(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Tensor:
    """``(3, H, W)`` float32: normalised colours of ``(H, W, 3)`` uint8."""
    import torch

    values = (pixels.astype(np.float32) - mean.astype(np.float32) * 255) / (std.astype(np.float32) * 255)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def _square(marked: Tensor, boxes: np.ndarray, side: int, processing: Processing) -> np.ndarray:
    """Normalised ``(N, 3, H, W)`` pictures to ``(N, 3, side, side)`` (step 6)."""
    count, _, height, width = marked.shape
    if processing == "resize":
        return resize_bilinear(marked.numpy(), (side, side))
    if processing == "padding":
        out = np.zeros((count, 3, side, side), np.float32)
        out[:, :, :height, :width] = marked
        return out
    if processing == "center_crop":
        top, left = round((height - side) / 2.0), round((width - side) / 2.0)
        return marked[:, :, top : top + side, left : left + side].numpy()
    out = np.empty((count, 3, side, side), np.float32)
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        left = int(np.clip((x1 + x2) / 2 - side / 2, 0, width - side))
        top = int(np.clip((y1 + y2) / 2 - side / 2, 0, height - side))
        out[index] = marked[index, :, top : top + side, left : left + side]
    return out


def square_marks(
    frame: Frame,
    style: MarkStyle,
    options: MarkOptions,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    processing: Processing = "resize",
) -> np.ndarray:
    """Mark a frame and make it square, as the released renderer hands it on (steps 4 to 6).

    Only the two pictures that all regions are composed of are normalised, not every copy.

    Args:
        frame: picture and regions at marking size; one frame serves all styles.
        style: any that shows the whole picture.
        options: how marks look; the marking size is part of them.
        mean: ``(3,)`` of the model's pixels on the scale 0..1.
        std: ``(3,)`` likewise.
        processing: how the marked picture becomes square.

    Returns:
        ``(N, 3, marking_size, marking_size)`` float32, normalised.
    """
    import torch

    shapes = torch.from_numpy(_shapes(frame, style, options))
    inside, outside = (_planes(side, mean, std) for side in _sides(frame.pixels, style.effect, options))
    marked = torch.where(shapes[:, None], inside, outside)
    return _square(marked, frame.boxes, options.marking_size, processing)


def clip_inputs(
    pixels: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    style: MarkStyle,
    options: MarkOptions,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    processing: Processing = "resize",
    crop_share: float = 1.0,
) -> np.ndarray:
    """Marked pictures as the released renderer hands them on, at marking size (steps 2 to 6).

    Args:
        pixels: ``(H, W, 3)`` uint8.
        boxes: ``(N, 4)`` float32 xyxy pixels.
        masks: ``(N, H, W)`` bool or logits, or None.
        style: the visual prompt.
        options: how marks look; the marking size is part of them.
        mean: ``(3,)`` of the model's pixels on the scale 0..1.
        std: ``(3,)`` likewise.
        processing: how the marked picture becomes square.
        crop_share: see :func:`scale_frame`.

    Returns:
        ``(N, 3, marking_size, marking_size)`` float32, normalised.
    """
    side = options.marking_size
    if not style.cropped:
        frame = scale_frame(pixels, boxes, masks, side, processing=processing, crop_share=crop_share)
        return square_marks(frame, style, options, mean=mean, std=std, processing=processing)
    parts = [None] * len(boxes) if masks is None else masks
    crops = [
        draw_crop(pixels, box, mask, style, options, processing=processing, crop_share=crop_share)
        for box, mask in zip(boxes, parts, strict=True)
    ]
    squares = [_square(_planes(crop, mean, std)[None], np.zeros((1, 4)), side, processing) for crop in crops]
    return np.concatenate(squares) if squares else np.zeros((0, 3, side, side), np.float32)

"""Measures of boxes that a captioner wrote, one for every thing that was asked for.

Source: PIN (Dorkenwald et al., CVPR 2024) and its released program; specs/pin.md, 6. Sizes and overlaps count in the
square frame that the captioner sees, areas are continuous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.errors import DataError
from fovea.language.box_text import Box, GridCodec
from fovea.regions import box_iou

#: What an answer that cannot be read counts as: nothing, or the upper left cell, as released.
InvalidPolicy = Literal["zero", "first_cell"]

# Areas from which a thing is of medium size, and from which it is large, in a frame of 224 pixels.
_MEDIUM, _LARGE, _FRAME = 32.0**2, 96.0**2, 224
# The paper's P is of the first; the second is the usual one.
_THRESHOLDS = (0.3, 0.5)


def known_policy(name: str) -> InvalidPolicy:
    """A policy by name; ``first-cell`` is ``first_cell``.

    Raises:
        DataError: there is no such policy.
    """
    known: tuple[InvalidPolicy, ...] = get_args(InvalidPolicy)
    error = DataError(f"answers that cannot be read do not count as {name!r}", f"known are {' and '.join(known)}")
    return chosen(name.replace("-", "_"), known, error)


def size_class(box: Box, frame: float = _FRAME) -> str:
    """``S``, ``M`` or ``L``.

    Args:
        box: of the thing, xyxy pixels of the frame.
        frame: side of the frame in pixels.
    """
    area = (box[2] - box[0]) * (box[3] - box[1])
    scale = (frame / _FRAME) ** 2
    return "L" if area >= _LARGE * scale else "M" if area >= _MEDIUM * scale else "S"


def told_ious(
    told: Sequence[Box | None],
    truth: Sequence[Box],
    policy: InvalidPolicy = "zero",
    codec: GridCodec | None = None,
    frame: int = _FRAME,
) -> np.ndarray:
    """How well answers fit.

    Args:
        told: an answer per thing, xyxy pixels of the frame; None for one that cannot be read.
        truth: its box.
        policy: what such an answer counts as.
        codec: whose cell that is; the paper's by default.
        frame: side of the frame in pixels.

    Returns:
        ``(N,)`` float64, 0..1.
    """
    instead = (codec or GridCodec()).first_cell((frame, frame)) if policy == "first_cell" else None
    answers = [instead if answer is None else answer for answer in told]
    return np.array(
        [
            0.0 if answer is None else float(box_iou(np.array([answer]), np.array([right]))[0, 0])
            for answer, right in zip(answers, truth, strict=True)
        ]
    )


def summarise_told(ious: Sequence[float], sizes: Sequence[str]) -> dict[str, Any]:
    """Means over things.

    Args:
        ious: of every answer.
        sizes: of every thing, see :func:`size_class`.

    Returns:
        ``n``; ``mIoU``, ``mIoU_S``, ``mIoU_M``, ``mIoU_L``, None for a size that no thing has; ``P@0.3`` and ``P@0.5``,
        the share of answers with a greater IoU.
    """
    values = np.asarray(ious, np.float64)
    of_size = {size: values[np.array(sizes) == size] for size in "SML"}
    return {
        "n": len(values),
        "mIoU": float(values.mean()) if len(values) else None,
        **{f"mIoU_{size}": float(part.mean()) if len(part) else None for size, part in of_size.items()},
        **{f"P@{one}": float((values > one).mean()) if len(values) else None for one in _THRESHOLDS},
    }

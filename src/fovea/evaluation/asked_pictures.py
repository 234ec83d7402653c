"""What tellers of boxes are measured on: pictures with named things, whose boxes are brought to a square frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fovea.pictures import Picture

#: How a data set writes boxes, and how PIN's release rounds them in the frame (specs/pin.md, 6): ``exact`` are xyxy
#: pixels, not rounded; ``voc`` corners that count from 1; ``coco`` x, y, width, height.
BoxForm = Literal["exact", "voc", "coco"]


@dataclass(frozen=True, eq=False)
class AskedThings:
    """A decoded picture and its things.

    Attributes:
        picture: what is looked at.
        names: by what each thing is asked for. Things of one name share an answer.
        boxes: ``(N, 4)`` in the picture's pixels, as the benchmark's :data:`BoxForm` says.
        groups: what each thing is reported with beside the whole; empty for none.
    """

    picture: Picture
    names: tuple[str, ...]
    boxes: np.ndarray
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AskedPicture:
    """A picture with named things.

    Attributes:
        key: names it in result files.
        open: decodes or composes it; raises a PictureError or a RegionError where it is broken.
    """

    key: str
    open: Callable[[], AskedThings]


@dataclass(frozen=True, eq=False)
class TellingBenchmark:
    """What is measured.

    Attributes:
        name: of the benchmark.
        pictures: cheap to look at until one is opened.
        form: of the boxes.
        origin: tells the data from others in result files.
        split: how the paper's table names it; empty where it does not.
    """

    name: str
    pictures: Sequence[AskedPicture]
    form: BoxForm
    origin: str
    split: str = ""


def in_frame(boxes: np.ndarray, size: tuple[int, int], frame: int, form: BoxForm) -> np.ndarray:
    """Boxes in the square that a teller sees.

    Rounded ones may lose their area: nothing that is told can fit them then.

    Args:
        boxes: ``(N, 4)`` in pixels of the picture.
        size: its width and height.
        frame: side of the square in pixels.
        form: of the boxes.

    Returns:
        ``(N, 4)`` float64 xyxy pixels of the frame.
    """
    scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * frame / np.tile(np.array(size, np.float64), 2)
    if form == "exact":
        return scaled
    whole = np.trunc(scaled)
    if form == "voc":
        return whole.clip(1, frame)
    return np.concatenate([whole[:, :2], np.minimum(whole[:, :2] + whole[:, 2:], frame - 1)], axis=1)

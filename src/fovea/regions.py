"""Regions: the one currency between proposers, scorers and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from fovea.errors import MissingExtraError, RegionError

if TYPE_CHECKING:
    import supervision

#: COCO's compressed run-length encoding: ``{"size": [height, width], "counts": bytes}``.
Rle = dict[str, Any]

# Pixels of masks that are decoded at a time: 200 masks of 640 x 480, or one of the largest picture.
_PIXELS_AT_ONCE = 1 << 26


def encode_masks(masks: np.ndarray) -> tuple[Rle, ...]:
    """Encode ``(N, H, W)`` bool masks."""
    if len(masks) == 0:
        return ()
    columns = np.asfortranarray(np.moveaxis(np.asarray(masks, dtype=np.uint8), 0, -1))
    return tuple(coco_mask.encode(columns))


def decode_masks(rles: Sequence[Rle]) -> np.ndarray:
    """Decode masks of one size to ``(N, H, W)`` bool; none at all give ``(0, 0, 0)``."""
    if not rles:
        return np.zeros((0, 0, 0), bool)
    return np.moveaxis(coco_mask.decode(list(rles)), -1, 0).astype(bool)


def rle_to_json(rle: Rle) -> dict[str, Any]:
    """The encoding with its counts as text, as COCO files hold it."""
    counts = rle["counts"]
    return {
        "size": [int(side) for side in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def _run_lengths(counts: bytes) -> np.ndarray:
    """The int64 run lengths in COCO's compressed counts.

    A run is a signed number of 5-bit digits, lowest first, each a character from ``0`` on whose sixth bit says that
    another follows. From the fourth on, a run is written as its difference to the last but one.
    """
    digits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0) + 1
    starts = np.append(0, ends[:-1])
    places = np.arange(len(digits)) - np.repeat(starts, ends - starts)
    # Six digits count half a billion pixels; pycocotools' own integers overflow soon after.
    if digits.min() < 0 or digits.max() > 63 or places.max() > 5:
        raise ValueError("the counts are damaged")
    runs = np.add.reduceat((digits & 31) << 5 * places, starts)
    runs -= np.where(digits[ends - 1] & 16, 1 << 5 * (ends - starts), 0)
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs


def rle_from_json(data: dict[str, Any]) -> Rle:
    """Read what :func:`rle_to_json` wrote, or COCO's uncompressed form with a list of counts.

    The mask is checked but never decoded: whatever size it claims, this takes no more memory than its counts.

    Raises:
        RegionError: the data is no run-length encoding, or its runs do not fill the mask exactly.
    """
    try:
        height, width = (int(side) for side in data["size"])
        counts = data["counts"]
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        runs = _run_lengths(counts) if isinstance(counts, bytes) else np.asarray(counts)
        # pycocotools trusts the counts: what they leave out of a mask would be memory that nobody has written.
        if runs.ndim != 1 or runs.dtype.kind not in "iu" or height < 1 or width < 1 or height * width >= 1 << 29:
            raise ValueError("sides or counts are no sensible integers")
        if runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
            raise ValueError("the runs do not fill the mask")
        if not isinstance(counts, bytes):
            size = {"size": [height, width]}
            counts = coco_mask.frPyObjects({**size, "counts": runs.tolist()}, height, width)["counts"]
    except Exception as error:
        raise RegionError(
            "this is no run-length encoded mask",
            'it needs "size": [height, width] and "counts" that add up to height * width',
        ) from error
    return {"size": [height, width], "counts": counts}


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes ``(..., 4)`` xyxy as ``(...)``; inverted ones have none."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1))


def box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas that boxes share; shapes ``(..., 4)`` are broadcast."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return np.asarray((high - low).clip(0).prod(-1))


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes ``(N, 4)`` and ``(M, 4)`` xyxy as ``(N, M)`` float32; boxes without area give 0."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shared = box_overlaps(first[:, None], second[None])
    union = box_areas(first)[:, None] + box_areas(second)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0).astype(np.float32)


def mask_iou(first: Sequence[Rle], second: Sequence[Rle]) -> np.ndarray:
    """IoU of masks as ``(N, M)`` float32, without decoding them."""
    if not first or not second:
        return np.zeros((len(first), len(second)), np.float32)
    return np.asarray(coco_mask.iou(list(first), list(second), [0] * len(second)), np.float32)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.array(array)
    array.setflags(write=False)
    return array


def _checked_boxes(boxes: Any, size: tuple[int, int]) -> np.ndarray:
    """``(N, 4)`` float32 inside the picture, or an error that names the row."""
    try:
        array = np.asarray(boxes, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionError("boxes must be rows of four numbers", "give x1, y1, x2, y2 in pixels") from error
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise RegionError(f"boxes have the shape {array.shape}, not (N, 4)", "give x1, y1, x2, y2 for every box")
    width, height = size
    for row, box in enumerate(array):
        if not np.isfinite(box).all():
            raise RegionError(f"box {row} holds a value that is not a number: {box.tolist()}")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise RegionError(
                f"box {row} has no area: {box.tolist()}", "give x1 < x2 and y1 < y2, not x, y, width, height"
            )
        if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
            raise RegionError(f"box {row} {box.tolist()} lies outside of the picture of {width} x {height} pixels")
    return np.clip(array, 0, np.array([width, height, width, height], np.float32))


def _checked_masks(masks: Any) -> np.ndarray:
    """``(N, H, W)`` bool, or an error: logits and soft masks have no edge until somebody chooses a threshold."""
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise RegionError("masks must have one size", "give one boolean plane per region") from error
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise RegionError(f"masks have the shape {array.shape}, not (N, H, W)", "give one boolean plane per region")
    if array.dtype == bool or array.size == 0:
        return array.astype(bool)
    top = array.max() if array.dtype.kind in "iu" else None
    if top not in (0, 1, 255) or not np.isin(array, (0, top)).all():
        raise RegionError("masks hold more than two values", "give booleans, such as masks > threshold")
    return array > 0


def mask_bounds(masks: np.ndarray) -> np.ndarray:
    """Tight boxes of ``(N, H, W)`` bool masks as ``(N, 4)`` float32 xyxy; empty masks give zeros."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for row, mask in enumerate(masks):
        xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        if len(xs):
            boxes[row] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one picture. Build them with the ``from_...`` methods, which check their input.

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy pixels of the upright picture, continuous; right and bottom are exclusive.
        size: width and height of the picture in pixels.
        source: where they came from: ``given``, ``ground-truth``, ``sam-grid`` ...
        masks: one run-length encoded mask each, of the picture's size, or None.
        scores: ``(N,)`` float32, the proposer's own confidence, or None.
    """

    boxes: np.ndarray
    size: tuple[int, int]
    source: str = "given"
    masks: tuple[Rle, ...] | None = None
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", _frozen(np.asarray(self.boxes, np.float32).reshape(-1, 4)))
        if self.scores is not None:
            object.__setattr__(self, "scores", _frozen(np.asarray(self.scores, np.float32).reshape(-1)))
        for name, rows in (("masks", self.masks), ("scores", self.scores)):
            if rows is not None and len(rows) != len(self.boxes):
                raise RegionError(f"there are {len(self.boxes)} boxes but {len(rows)} {name}")
        width, height = self.size
        for row, rle in enumerate(self.masks or ()):
            if list(rle["size"]) != [height, width]:
                raise RegionError(
                    f"mask {row} has {rle['size'][1]} x {rle['size'][0]} pixels, the picture {width} x {height}",
                    "masks must have the size of the upright picture",
                )

    @classmethod
    def from_boxes(
        cls, boxes: Any, size: tuple[int, int], source: str = "given", scores: np.ndarray | None = None
    ) -> Regions:
        """Regions with boxes only.

        Args:
            boxes: ``(N, 4)`` numbers, xyxy pixels; parts outside of the picture are cut off.
            size: width and height of the picture.
            source: where they came from.
            scores: ``(N,)`` confidences, or None.

        Raises:
            RegionError: a box is no box, has no area, or lies outside of the picture.
        """
        return cls(_checked_boxes(boxes, size), size, source, None, scores)

    @classmethod
    def from_masks(
        cls, masks: np.ndarray, source: str = "given", scores: np.ndarray | None = None, boxes: Any = None
    ) -> Regions:
        """Regions with masks.

        Args:
            masks: ``(N, H, W)`` bool, or integers that are 0 and 1 or 0 and 255, of the picture's size.
            source: where they came from.
            scores: ``(N,)`` confidences, or None.
            boxes: ``(N, 4)`` boxes; by default the masks' own bounds.

        Raises:
            RegionError: the shape or a value is wrong, or a mask is empty and no boxes are given.
        """
        masks = _checked_masks(masks)
        size = (masks.shape[2], masks.shape[1])
        if boxes is None:
            empty = np.flatnonzero(~masks.any((1, 2)))
            if len(empty):
                raise RegionError(f"mask {empty[0]} is empty", "leave it out, or give its box")
            boxes = mask_bounds(masks)
        return cls(_checked_boxes(boxes, size), size, source, encode_masks(masks), scores)

    @classmethod
    def empty(cls, size: tuple[int, int], source: str = "given") -> Regions:
        """No regions at all."""
        return cls(np.zeros((0, 4), np.float32), size, source)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, indices: Iterable[int] | np.ndarray) -> Regions:
        """The regions at some indices, in that order, or those where ``(N,)`` booleans are true.

        Raises:
            RegionError: these are neither integers nor one boolean per region.
        """
        rows = np.asarray(list(indices))
        if rows.dtype == bool and rows.shape == (len(self),):
            rows = np.flatnonzero(rows)
        elif rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise RegionError(
                f"regions cannot be selected by {rows.dtype} of the shape {rows.shape}",
                "give indices, or one boolean per region",
            )
        rows = rows.astype(int)
        return Regions(
            self.boxes[rows],
            self.size,
            self.source,
            None if self.masks is None else tuple(self.masks[row] for row in rows),
            None if self.scores is None else self.scores[rows],
        )

    def with_masks(self, masks: Sequence[Rle], source: str | None = None) -> Regions:
        """The same regions with other masks, and maybe another source."""
        return replace(self, masks=tuple(masks), source=source or self.source)

    def dense_masks(self) -> np.ndarray:
        """``(N, H, W)`` bool masks.

        Raises:
            RegionError: the regions are boxes only.
        """
        if self.masks is None:
            raise RegionError("these regions have boxes but no masks", "let a segmenter add them")
        if not self.masks:
            return np.zeros((0, self.size[1], self.size[0]), bool)
        return decode_masks(self.masks)

    def mask_chunks(self) -> Iterator[np.ndarray]:
        """The masks in order, ``(n, H, W)`` bool: as many at a time as memory should hold, at least one.

        Raises:
            RegionError: the regions are boxes only.
        """
        at_once = max(1, _PIXELS_AT_ONCE // (self.size[0] * self.size[1]))
        for start in range(0, len(self), at_once):
            yield self.select(range(start, min(start + at_once, len(self)))).dense_masks()

    def each_mask(self) -> Iterator[np.ndarray]:
        """One ``(H, W)`` bool mask after the other; raises as :meth:`mask_chunks` does."""
        return chain.from_iterable(self.mask_chunks())

    def with_filled_boxes(self) -> Regions:
        """The same boxes, each with the mask that fills it: every pixel that it touches."""
        width, height = self.size
        masks = np.zeros((len(self), height, width), bool)
        for mask, (left, top, right, bottom) in zip(masks, self.boxes, strict=True):
            mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
        return self.with_masks(encode_masks(masks))

    @property
    def areas(self) -> np.ndarray:
        """``(N,)`` float32 box areas in pixels."""
        return np.asarray((self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1]))

    @cached_property
    def key(self) -> str:
        """Hash of everything but the source and the scores: equal for regions that look the same."""
        digest = hashlib.blake2b(repr(self.size).encode() + self.boxes.tobytes(), digest_size=16)
        for rle in self.masks or ():
            digest.update(rle["counts"] + b"|")
        return digest.hexdigest() + ("" if self.masks is None else "m")

    def to_json(self) -> dict[str, Any]:
        """A document that :meth:`from_json` reads back exactly."""
        return {
            "size": list(self.size),
            "source": self.source,
            "boxes": self.boxes.astype(float).tolist(),
            "masks": None if self.masks is None else [rle_to_json(rle) for rle in self.masks],
            "scores": None if self.scores is None else self.scores.astype(float).tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Regions:
        """Read what :meth:`to_json` wrote.

        Raises:
            RegionError: a part is missing or wrong.
        """
        try:
            width, height = (int(side) for side in data["size"])
            boxes, source = data["boxes"], str(data["source"])
            masks, scores = data.get("masks"), data.get("scores")
            return cls(
                _checked_boxes(boxes, (width, height)),
                (width, height),
                source,
                None if masks is None else tuple(rle_from_json(rle) for rle in masks),
                None if scores is None else np.asarray(scores, np.float32),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise RegionError("this is no document of regions", 'it needs "size", "source" and "boxes"') from error

    def to_supervision(self) -> supervision.Detections:
        """The same regions as supervision's ``Detections``; the source becomes a data column.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        sv = _supervision()
        if not len(self):
            return sv.Detections.empty()
        return sv.Detections(
            xyxy=self.boxes.copy(),
            mask=None if self.masks is None else self.dense_masks(),
            confidence=None if self.scores is None else self.scores.copy(),
            data={"source": np.array([self.source] * len(self))},
        )

    @classmethod
    def from_supervision(cls, detections: supervision.Detections, size: tuple[int, int]) -> Regions:
        """Regions from supervision's ``Detections``.

        Args:
            detections: boxes, and maybe masks and confidences.
            size: width and height of the picture.

        Raises:
            RegionError: a box makes no sense, or masks have another size.
        """
        sources = list(detections.data.get("source", []))
        mask = detections.mask
        return cls(
            _checked_boxes(detections.xyxy, size),
            size,
            str(sources[0]) if len(sources) else "supervision",
            None if mask is None else encode_masks(_checked_masks(mask)),
            detections.confidence,
        )


def _supervision() -> Any:
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError("the exchange with supervision", "viz") from error
    return supervision

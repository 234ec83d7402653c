"""How densely a picture is searched for regions, and which masks count."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from fovea.errors import RegionError
from fovea.proposers.mask_filter import MaskFilter


@dataclass(frozen=True)
class GridSettings:
    """Settings of SAM's point grid; the defaults are those of the segment-anything package.

    Attributes:
        points_per_side: the grid is square.
        min_iou: masks whose IoU SAM itself estimates lower are dropped.
        min_stability: masks that change more when the threshold moves are dropped: the area above ``+offset``
            must be at least this share of the area above ``-offset``.
        stability_offset: how far the threshold moves, in logits.
        max_overlap: of two masks whose boxes have a greater IoU, the one that SAM likes less is dropped.
        crop_layers: layers of finer and finer crops that are searched as well, for small things; each has four times as
            many crops as the one before.
        points_divisor: by how much points per side are divided from layer to layer.
        mask_filter: how masks are mended, those of boxes too, and which sizes the grid offers.
    """

    points_per_side: int = 32
    min_iou: float = 0.88
    min_stability: float = 0.95
    stability_offset: float = 1.0
    max_overlap: float = 0.7
    crop_layers: int = 0
    points_divisor: int = 1
    mask_filter: MaskFilter = field(default_factory=MaskFilter)

    def __post_init__(self) -> None:
        if self.points_per_side < 1 or not 0 <= self.max_overlap <= 1:
            raise RegionError(
                f"a grid of {self.points_per_side} points per side and an overlap of {self.max_overlap} makes no sense",
                "give at least one point per side, and an overlap from 0 to 1",
            )

    @property
    def name(self) -> str:
        """Everything that can be set in one line, for results."""
        parts = [
            f"{self.points_per_side} points per side",
            f"overlap {self.max_overlap:g}",
            f"IoU {self.min_iou:g}",
            f"stability {self.min_stability:g} at {self.stability_offset:g}",
        ]
        if self.crop_layers:
            parts.append(f"{self.crop_layers} layers of crops, points divided by {self.points_divisor}")
        if self.mask_filter != MaskFilter():
            parts.append(", ".join(f"{what} {limit}" for what, limit in asdict(self.mask_filter).items()))
        return ", ".join(parts)


#: What the released FGVP evaluation uses (specs/fgvp.md, b).
FGVP_GRID = GridSettings(points_per_side=16, min_iou=0.86, min_stability=0.92, stability_offset=0.7)

#: What mini-sam is used with: things in scenes are few and large, and a small segmenter is never as sure of itself.
MINI_GRID = GridSettings(points_per_side=14, min_iou=0.6, min_stability=0.75)

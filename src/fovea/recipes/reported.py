"""What FGVP's tables report for single visual prompts, without rules (papers/fgvp.txt; specs/fgvp.md, f).

Accuracy is in percent. A number counts for a split and for one kind of proposals only: annotated regions, a detector's
boxes, or SAM's grid with its settings. All are of the val splits; PACO's are of parts.
"""

from __future__ import annotations

from collections.abc import Mapping

from fovea.proposers import SEARCHES
from fovea.proposers.grid_settings import GridSettings

#: A split, such as ``refcoco-val``, and its proposals: ``ground-truth``, ``detections``, or :func:`grid_setting`.
Setting = tuple[str, str]


def grid_setting(points_per_side: int, max_overlap: float) -> str:
    """How the tables name SAM's grid."""
    return f"grid of {points_per_side} points per side, overlap {max_overlap:g}"


def setting(split: str, proposals: str, grid: GridSettings) -> Setting:
    """What a run's accuracy may be compared with.

    Args:
        split: such as ``paco-val``.
        proposals: one of ``evaluation.grounding.PROPOSALS``.
        grid: the settings that were used, where the proposals come from a grid.
    """
    if split.endswith("IoU"):
        # Measures of masks: no table of them says more than that masks were proposed. What is told are boxes.
        return split, "masks" if proposals in SEARCHES and proposals != "told" else proposals
    if proposals == "grid":
        return split, grid_setting(grid.points_per_side, grid.max_overlap)
    # Whether the paper's masks were annotated, or SAM's in annotated boxes, is not known.
    return split, "ground-truth" if proposals == "sam-boxes" else proposals


_REFERRING = ("refcoco-val", "refcoco+-val", "refcocog-val")
_USUAL_GRID = grid_setting(16, 0.7)

_COLUMNS: tuple[Setting, ...] = (
    *((split, "ground-truth") for split in ("coco-val", "paco-val", *_REFERRING)),
    *((split, "detections") for split in _REFERRING),
)
_GRID_COLUMNS: tuple[Setting, ...] = tuple((split, _USUAL_GRID) for split in ("paco-val", *_REFERRING))

_ROWS = {
    "P": "70.9 38.5 35.2 40.3 59.1 45.3 46.4 56.4",
    "A1": "52.3 39.1 36.9 39.6 43.8 46.7 47.9 48.9",
    "A2": "64.2 35.7 37.1 41.9 58.0 48.2 49.0 57.0",
    "B1": "48.5 42.7 34.7 39.5 44.6 45.5 46.4 47.0",
    "B2": "34.4 37.2 23.9 23.4 22.7 35.4 30.7 30.8",
    "B3": "42.4 37.4 34.4 35.9 44.5 45.9 44.0 48.4",
    "B4": "62.1 39.2 47.9 51.8 63.6 48.8 51.4 54.1",
    "C1": "48.9 42.6 43.2 49.3 56.3 48.9 51.7 54.6",
    "C2": "36.1 37.2 29.9 29.8 24.5 40.7 37.1 37.9",
    "C3": "42.9 36.6 36.9 38.2 47.3 47.8 46.2 50.3",
    "C4": "58.1 36.8 49.2 53.1 60.9 49.3 52.1 52.2",
    "D1": "47.3 41.0 38.7 41.7 43.5 46.1 45.0 46.3",
    "D2": "41.1 43.7 29.9 29.1 29.9 41.8 38.5 38.4",
    "D3": "45.2 40.4 40.5 43.8 50.9 45.8 45.9 51.2",
    "D4": "67.8 43.3 52.8 58.0 63.5 52.8 55.4 57.8",
}
_GRID_ROWS = {
    "P": "16.5 17.7 21.6 34.3",
    "A1": "11.9 16.7 18.5 19.7",
    "C1": "17.4 24.9 29.8 32.4",
    "D2": "15.2 24.1 21.4 18.6",
    "D4": "18.3 40.8 44.9 49.6",
}
# PACO's parts on other grids. For D4 on the usual one this table says 18.4, the other one 18.3.
_OTHER_GRIDS: Mapping[str, Mapping[tuple[int, float], float]] = {
    "P": {(32, 0.95): 19.5},
    "C1": {(32, 0.95): 19.9},
    "D4": {(8, 0.7): 17.3, (8, 0.95): 20.5, (16, 0.95): 22.0, (32, 0.7): 19.0, (32, 0.95): 23.2},
}


def _numbers(columns: tuple[Setting, ...], row: str) -> dict[Setting, float]:
    return dict(zip(columns, map(float, row.split()), strict=True))


def _reported(code: str, row: str) -> dict[Setting, float]:
    grids = {("paco-val", grid_setting(*grid)): value for grid, value in _OTHER_GRIDS.get(code, {}).items()}
    searched = _numbers(_GRID_COLUMNS, _GRID_ROWS[code]) if code in _GRID_ROWS else {}
    return {**_numbers(_COLUMNS, row), **searched, **grids}


#: By the paper's code of the visual prompt.
SINGLE_STYLES: Mapping[str, Mapping[Setting, float]] = {code: _reported(code, row) for code, row in _ROWS.items()}

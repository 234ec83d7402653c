"""Where cut-outs go: boxes of whole cells that do not cover each other too much.

Source: PIN's released program; specs/pin.md, 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fovea.errors import DataError

#: Columns and rows, first and last, both within the box.
Cells = tuple[int, int, int, int]

# By how many things a picture shows: the least and the most that the longer side of one may be, in shares of the grid.
_LEAST = (0.3, 0.2, 0.1, 0.1, 0.2, 0.1)
_MOST = (1.0, 1.0, 1.0, 1.0, 0.5, 0.4)

# Sizes that are tried before the smallest is put anywhere.
_TRIES = 10


@dataclass(frozen=True)
class PasteSettings:
    """How a picture is laid out.

    Attributes:
        cells: per side of the picture, at least 2.
        most_overlap: how much of a box, all others together, may be covered; 0..1.
        symmetric: whether an overlap is measured against the smaller of two boxes, or against the older one.

    Raises:
        DataError: there are fewer cells.
    """

    cells: int = 16
    most_overlap: float = 0.5
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.cells < 2:
            raise DataError("on a grid of one cell every box is the same", "use a grid of 2 x 2 cells or more")

    def side_range(self, count: int) -> tuple[int, int]:
        """Least and most cells of the longer side of each of ``count`` things, less one in the end."""
        index = min(count, len(_LEAST)) - 1
        # On grids of few cells the shares would be none, and things as wide as high whatever they are.
        least = max(1, round(_LEAST[index] * self.cells))
        return least, max(least + 1, round(_MOST[index] * self.cells))


def fitted(aspect: float, longer: int) -> tuple[int, int]:
    """Columns and rows less one of a thing.

    The proportions are kept before the one is added, as released, so that small things are a little wider or higher
    than they should be.

    Args:
        aspect: width by height.
        longer: cells of its longer side, less one.
    """
    shorter = max(1, round(longer * min(aspect, 1 / aspect)))
    return (longer, shorter) if aspect >= 1 else (shorter, longer)


def overlap(new: Cells, old: Cells, symmetric: bool) -> float:
    """How much of an older box a new one covers, 0..1; or of the smaller of the two."""
    width = min(new[2], old[2]) - max(new[0], old[0]) + 1
    height = min(new[3], old[3]) - max(new[1], old[1]) + 1
    shared = max(0, width) * max(0, height)
    return shared / _measure(new, old, symmetric)


def _measure(new: Cells, old: Cells, symmetric: bool) -> int:
    """What an overlap is a share of."""
    return min(_area(new), _area(old)) if symmetric else _area(old)


def _area(cells: Cells) -> int:
    left, top, right, bottom = cells
    return (right - left + 1) * (bottom - top + 1)


def free_places(size: tuple[int, int], existing: list[Cells], settings: PasteSettings) -> np.ndarray:
    """Where a thing may stand.

    Args:
        size: its columns and rows, less one.
        existing: boxes that are there.
        settings: of the layout.

    Returns:
        ``(N, 2)`` int64, its first column and row, from left to right and in each column downwards.
    """
    lefts, tops = (np.arange(max(0, settings.cells - side)) for side in size)
    covered = np.zeros((len(lefts), len(tops)))
    for old in existing:
        width = np.minimum(lefts + size[0], old[2]) - np.maximum(lefts, old[0]) + 1
        height = np.minimum(tops + size[1], old[3]) - np.maximum(tops, old[1]) + 1
        shared = np.outer(width.clip(0), height.clip(0))
        covered += shared / _measure((0, 0, *size), old, settings.symmetric)
    return np.argwhere(covered <= settings.most_overlap)


def lay_out(rng: np.random.Generator, aspects: list[float], settings: PasteSettings) -> list[Cells]:
    """Boxes for things, one after the other; later ones may cover earlier ones a little.

    Args:
        rng: what is drawn from.
        aspects: width by height of each.
        settings: of the layout.
    """
    least, most = settings.side_range(len(aspects))
    boxes: list[Cells] = []
    for aspect in aspects:
        for longer in (*rng.integers(least, most, _TRIES), least):
            size = fitted(aspect, int(longer))
            places = free_places(size, boxes, settings)
            if len(places):
                break
        else:
            # The smallest goes anywhere.
            places = free_places(size, [], settings)
        left, top = map(int, places[rng.integers(len(places))])
        boxes.append((left, top, left + size[0], top + size[1]))
    return boxes

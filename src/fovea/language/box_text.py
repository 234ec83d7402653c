"""Boxes as a captioner writes them: numbers of a grid, in a fixed frame, between brackets.

Source: PIN (Dorkenwald et al., CVPR 2024) and its released program; specs/pin.md, 3. For answers that are written in
any other way see :mod:`fovea.language.box_answers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: xyxy pixels.
Box = tuple[float, float, float, float]

# What the published codec reads: a blank, then four fields between brackets, whatever stands in them.
_WRITTEN = re.compile(r" \[([^,]*),([^,]*),([^,]*),([^,]*?)\]")


@dataclass(frozen=True)
class Prompting:
    """How a captioner is asked for a box, and how its answer ends.

    Attributes:
        before: in front of the question.
        end: behind the box.
    """

    before: str
    end: str

    def question(self, name: str) -> str:
        """What is asked, up to where the answer begins."""
        return f"{self.opening(name)} {name} located at"

    def opening(self, name: str) -> str:
        """The question up to the name, from which on a captioner may be trained to say the name as well."""
        return f"{self.before}In the image is {article(name)}"

    def answered(self, name: str, box: str, spaced: bool = False) -> str:
        """Question and answer, to learn from.

        Args:
            name: of the thing.
            box: as :meth:`GridCodec.encode` writes it.
            spaced: whether a blank stands in front of the end, as where the name is learnt too.
        """
        return f"{self.question(name)} {box}{' ' * spaced}{self.end}"


def article(name: str) -> str:
    """Which article the paper's prompts give a name: by its first letter, not by its sound."""
    return "an" if name[:1].lower() in "aeiou" else "a"


#: For OpenFlamingo and its like: the picture's place is in the text.
FLAMINGO = Prompting("<image>", ".<|endofchunk|>")
#: For BLIP-2, whose pictures come in front of the text.
BLIP2 = Prompting("", "</s>")


@dataclass(frozen=True)
class GridCodec:
    """Boxes of whole cells to text and back.

    Attributes:
        cells: per side of the picture.
        frame: what the numbers run to, whatever the picture's size.
    """

    cells: int = 16
    frame: float = 224

    @property
    def labels(self) -> tuple[str, ...]:
        """The numbers of the cells' edges, one more than cells."""
        return tuple(_number(self.frame * edge / self.cells) for edge in range(self.cells + 1))

    def encode(self, cells: tuple[int, int, int, int]) -> str:
        """Write a box.

        Args:
            cells: its first column and row, its last column and row, both within it.

        Raises:
            ValueError: the cells are not in order, or not on the grid.
        """
        left, top, right, bottom = cells
        if not (0 <= left <= right < self.cells and 0 <= top <= bottom < self.cells):
            raise ValueError(f"{cells} is no box of a grid of {self.cells} x {self.cells} cells")
        labels = self.labels
        return f"[{labels[left]},{labels[top]},{labels[right + 1]},{labels[bottom + 1]}]"

    def decode(self, text: str, size: tuple[int, int]) -> Box | None:
        """Read a box, as strictly as the published codec: the first one of labels of the grid, in order.

        Args:
            text: behind the question.
            size: width and height of the picture.

        Returns:
            xyxy pixels; None where the text is no such box.
        """
        found = _WRITTEN.search(text)
        labels = self.labels
        if found is None or not set(found.groups()) <= set(labels):
            return None
        left, top, right, bottom = (labels.index(field) for field in found.groups())
        if not (left < right and top < bottom):
            return None
        width, height = (side / self.cells for side in size)
        return left * width, top * height, right * width, bottom * height

    def first_cell(self, size: tuple[int, int]) -> Box:
        """What the released evaluation takes for an answer that cannot be read: the upper left cell."""
        return 0.0, 0.0, size[0] / self.cells, size[1] / self.cells


def _number(value: float) -> str:
    """As short as it can be said with two decimals."""
    if value == int(value):
        return str(int(value))
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"

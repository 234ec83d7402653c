"""Pasted pictures on disk, with their boxes in COCO's form: to look at, and for programs that read files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fovea.files import write_atomically
from fovea.pasting.grid import Cells
from fovea.pasting.pictures import Pasting
from fovea.pipelines.blocks import BlockRun
from fovea.pipelines.output import Row

#: Pictures that a stopped run makes again at most.
PER_BLOCK = 500


@dataclass(frozen=True)
class PastedBlock:
    """Some pictures by their numbers."""

    pasting: Pasting
    counts: tuple[int, int]
    numbers: range

    def make(self, directory: Path) -> Iterator[Row]:
        """See :class:`fovea.pipelines.blocks.Block`."""
        for number in self.numbers:
            pasted = self.pasting.picture(number, self.counts)
            stream = io.BytesIO()
            Image.fromarray(pasted.pixels).save(stream, "PNG", compress_level=1)
            write_atomically(directory / "images" / file_name(number), stream.getvalue())
            yield {
                "id": number,
                "names": list(pasted.names),
                "categories": list(pasted.categories),
                "cells": [list(cells) for cells in pasted.cells],
            }


def file_name(number: int) -> str:
    """Of a picture."""
    return f"pasted_{number:08d}.png"


def paste_run(pasting: Pasting, counts: tuple[int, int], numbers: range, directory: Path) -> BlockRun:
    """The run that writes pictures; :func:`write_instances` says afterwards what is in them.

    Args:
        pasting: makes them.
        counts: the fewest and the most things of a picture.
        numbers: of the pictures.
        directory: receives them in ``images``.
    """
    blocks = [numbers[start : start + PER_BLOCK] for start in range(0, len(numbers), PER_BLOCK)]
    return BlockRun(
        directory,
        _about(pasting, counts, numbers),
        tuple(map(len, blocks)),
        lambda number: PastedBlock(pasting, counts, blocks[number]),
    )


def _about(pasting: Pasting, counts: tuple[int, int], numbers: range) -> dict[str, Any]:
    settings, referral = pasting.settings, pasting.referral
    return {
        "cut-outs": pasting.cut_outs.key,
        "backgrounds": pasting.backgrounds.key,
        "size": pasting.size,
        "cells": settings.cells,
        "most overlap": settings.most_overlap,
        "symmetric": settings.symmetric,
        "seed": pasting.seed,
        "referral": None if referral is None else {"repeat": referral.repeat, "place": referral.place},
        "things": list(counts),
        "pictures": [numbers.start, numbers.stop],
    }


def write_instances(pasting: Pasting, run: BlockRun) -> int:
    """Write the boxes of a run that is done to ``instances.json``, in COCO's form.

    Annotations stand in the order of pasting and say under ``phrase`` by what a thing is asked for. There are no masks:
    boxes are those of whole cells, as they were laid out.

    Returns:
        How many things there are.
    """
    numbers = {name: number for number, name in enumerate(pasting.cut_outs.names, 1)}
    rows, annotations = list(run.rows()), list[Row]()
    for row in rows:
        for phrase, category, cells in zip(row["names"], row["categories"], row["cells"], strict=True):
            box = _xywh(pasting, cells)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": row["id"],
                    "category_id": numbers[category],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "phrase": phrase,
                }
            )
    side = {"width": pasting.size, "height": pasting.size}
    document = {
        "info": {"description": "fovea data paste"},
        "images": [{"id": row["id"], "file_name": file_name(row["id"]), **side} for row in rows],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    write_atomically(run.directory / "instances.json", json.dumps(document) + "\n")
    return len(annotations)


def _xywh(pasting: Pasting, cells: Cells) -> list[int]:
    left, top, right, bottom = cells
    x1, y1, x2, y2 = map(pasting.edge, (left, top, right + 1, bottom + 1))
    return [x1, y1, x2 - x1, y2 - y1]

"""Scenes of objects with parts on disk: what :mod:`fovea.scenes.export` writes, and annotations in PACO's format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fovea.files import write_atomically
from fovea.regions import Rle, encode_masks, rle_to_json
from fovea.scenes.export import DESCRIPTION, SceneFiles, file_name, xywh
from fovea.scenes.glyphs import Glyph, glyphs_of
from fovea.scenes.parts import PartScene, compose_parts
from fovea.scenes.scene import DEFAULT_SIZE

#: Name of the annotations; the split is called ``scenes``.
PACO_FILE = "paco_scenes.json"


def _underscored(name: str) -> str:
    return name.replace(" ", "_")


class _Paco:
    """Collects PACO's document; objects keep the numbers that ``instances.json`` gives them."""

    def __init__(self, glyphs: tuple[Glyph, ...]) -> None:
        self.glyphs = glyphs
        self.objects = {glyph.name: glyph.index + 1 for glyph in glyphs}
        self.parts: dict[str, int] = {}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.pictures_with: Counter[int] = Counter()

    def add(self, made: PartScene, ids: list[int]) -> None:
        """Add a scene whose things have these annotation ids."""
        scene = made.scene
        size = scene.pixels.shape[0]
        self.images.append(
            {
                "id": scene.seed,
                "file_name": file_name(scene),
                "width": size,
                "height": size,
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
                "license": 0,
            }
        )
        rles = encode_masks(scene.masks)
        for index in range(len(ids)):
            self.annotations.append(self._annotation(made, index, ids, rles[index]))
        self.pictures_with.update({row["category_id"] for row in self.annotations[-len(ids) :]})

    def _annotation(self, made: PartScene, index: int, ids: list[int], rle: Rle) -> dict[str, Any]:
        scene, whole = made.scene, made.wholes[index]
        name = scene.things[index].name
        category = self.objects[name]
        if whole != index:
            full = f"{_underscored(scene.things[whole].name)}:{_underscored(name)}"
            category = self.parts.setdefault(full, len(self.parts) + max(self.objects.values()) + 1)
        return {
            "id": ids[index],
            "image_id": scene.seed,
            "category_id": category,
            "obj_ann_id": ids[whole],
            "bbox": xywh(scene.boxes[index]),
            "area": int(np.count_nonzero(scene.masks[index])),
            "segmentation": rle_to_json(rle),
            "iscrowd": 0,
            "attribute_ids": [],
            "dom_color_ids": [],
            **{f"unknown_{what}": 1 for what in ("color", "pattern_marking", "material", "transparency")},
        }

    def document(self) -> dict[str, Any]:
        instances = Counter(row["category_id"] for row in self.annotations)
        names = {_underscored(glyph.name): self.objects[glyph.name] for glyph in self.glyphs}
        categories = [
            {
                "supercategory": supercategory,
                "id": number,
                "name": name,
                "image_count": self.pictures_with[number],
                "instance_count": instances[number],
            }
            for supercategory, known in (("OBJECT", names), ("PART", self.parts))
            for name, number in known.items()
        ]
        part_names = sorted({name.split(":")[1] for name in self.parts})
        return {
            "info": {"description": DESCRIPTION},
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
            "part_categories": [
                {"supercategory": "PART", "id": number, "name": name} for number, name in enumerate(part_names)
            ],
            "attributes": [],
            "attr_type_to_attr_idxs": {},
        }


def write_part_scenes(
    directory: Path,
    count: int,
    seed: int,
    *,
    size: int = DEFAULT_SIZE,
    glyphs: tuple[Glyph, ...] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write scenes of objects with parts, ``seed`` to ``seed + count - 1``.

    Args:
        directory: receives ``images/``, ``refs.jsonl``, ``instances.json`` and ``paco_scenes.json``; all but the first
            appear when all is done.
        count: how many.
        seed: number of the first.
        size: side of the pictures in pixels.
        glyphs: what may stand in them.
        advance: called after each.
    """
    chosen = glyphs or glyphs_of("train")
    files, paco = SceneFiles(directory, chosen), _Paco(chosen)
    for number in range(seed, seed + count):
        made = compose_parts(number, size, chosen)
        paco.add(made, files.add(made.scene))
        advance()
    files.finish()
    write_atomically(directory / PACO_FILE, json.dumps(paco.document()))

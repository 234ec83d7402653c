"""Scenes on disk: pictures, referring expressions in ReCLIP's format, instances in LVIS's format."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fovea.errors import DataError
from fovea.files import write_atomically
from fovea.regions import encode_masks, rle_to_json
from fovea.scenes.glyphs import SPLITS, Glyph, all_glyphs, glyphs_of
from fovea.scenes.lvis import LVIS_FILE, federated_document
from fovea.scenes.scene import DEFAULT_SIZE, Scene, compose

# Categories that surely do not occur in a picture and are said not to, as LVIS does for a sample of them.
_NEGATIVES = 10

#: What files say of themselves.
DESCRIPTION = "fovea scenes; glyphs from Noto Color Emoji, SIL Open Font License 1.1"


def glyphs_named(names: str) -> tuple[Glyph, ...]:
    """Glyphs of one split, or of ``all``.

    Raises:
        DataError: there is no such split.
    """
    if names == "all":
        return all_glyphs()
    if names not in SPLITS:
        raise DataError(f"there is no set of names called {names!r}", f"known are {', '.join(SPLITS)} and all")
    return glyphs_of(names)


def file_name(scene: Scene) -> str:
    """Name of a scene's picture; its number is the picture's id."""
    return f"scene_{scene.seed:08d}.png"


def xywh(box: np.ndarray) -> list[float]:
    """A box ``(4,)`` xyxy as COCO writes it: x, y, width, height."""
    return [float(value) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])]


class Instances:
    """Collects LVIS's ``instances.json``.

    Args:
        glyphs: what may stand in the scenes. The frequency of a category says how often the composer picks it, and so
            how often training showed it, if its split is ``train``.
    """

    def __init__(self, glyphs: tuple[Glyph, ...]) -> None:
        self.glyphs = glyphs
        self.category = {glyph.name: glyph.index + 1 for glyph in glyphs}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.pictures_with: Counter[int] = Counter()
        self.instances_of: Counter[int] = Counter()

    def add(self, scene: Scene) -> list[int]:
        """Add a scene; returns the annotation id of every thing."""
        present = {self.category[glyph.name] for glyph in scene.glyphs}
        absent = sorted(set(self.category.values()) - present)
        rng = np.random.default_rng(scene.seed)
        size = scene.pixels.shape[0]
        self.images.append(
            {
                "id": scene.seed,
                "file_name": file_name(scene),
                "width": size,
                "height": size,
                "neg_category_ids": sorted(rng.choice(absent, min(_NEGATIVES, len(absent)), replace=False).tolist()),
                "not_exhaustive_category_ids": [],
            }
        )
        ids = []
        for glyph, box, mask, rle in zip(
            scene.glyphs, scene.boxes, scene.masks, encode_masks(scene.masks), strict=True
        ):
            ids.append(len(self.annotations) + 1)
            self.annotations.append(
                {
                    "id": ids[-1],
                    "image_id": scene.seed,
                    "category_id": self.category[glyph.name],
                    "bbox": xywh(box),
                    "area": int(mask.sum()),
                    "segmentation": rle_to_json(rle),
                    "iscrowd": 0,
                }
            )
        self.pictures_with.update(present)
        self.instances_of.update(self.category[glyph.name] for glyph in scene.glyphs)
        return ids

    def document(self) -> dict[str, Any]:
        """What :meth:`add` collected."""
        categories = [
            {
                "id": self.category[glyph.name],
                "name": glyph.name,
                "frequency": glyph.frequency,
                "image_count": self.pictures_with[self.category[glyph.name]],
                "instance_count": self.instances_of[self.category[glyph.name]],
                "split": glyph.split,
            }
            for glyph in self.glyphs
        ]
        return {
            "info": {"description": DESCRIPTION},
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }


def _refs(scene: Scene, ids: list[int]) -> list[dict[str, Any]]:
    """One line per thing that an expression means, as ReCLIP's program reads them; ``kind`` is ours."""
    anns = [{"id": id_, "bbox": xywh(box)} for id_, box in zip(ids, scene.boxes, strict=True)]
    lines = []
    for target, id_ in enumerate(ids):
        sentences = [{"raw": e.text, "kind": e.kind} for e in scene.expressions if e.target == target]
        if sentences:
            lines.append(
                {
                    "file_name": file_name(scene),
                    "image_id": scene.seed,
                    "ann_id": id_,
                    "anns": anns,
                    "sentences": sentences,
                }
            )
    return lines


class SceneFiles:
    """Writes scenes one by one.

    Args:
        directory: receives ``images/``, and at the end ``refs.jsonl`` and ``instances.json``.
        glyphs: what may stand in the scenes.
        lvis: whether annotations that leave things out, as LVIS's do, are written as well.
    """

    def __init__(self, directory: Path, glyphs: tuple[Glyph, ...], lvis: bool = False) -> None:
        self.directory, self.lvis = directory, lvis
        self._instances = Instances(glyphs)
        self._lines: list[dict[str, Any]] = []

    def add(self, scene: Scene) -> list[int]:
        """Write a scene's picture; returns the annotation id of every thing."""
        stream = io.BytesIO()
        Image.fromarray(scene.pixels).save(stream, "PNG", compress_level=1)
        write_atomically(self.directory / "images" / file_name(scene), stream.getvalue())
        ids = self._instances.add(scene)
        self._lines += _refs(scene, ids)
        return ids

    def finish(self) -> None:
        """Write what is known about all of them."""
        lines = "".join(json.dumps(line) + "\n" for line in self._lines)
        write_atomically(self.directory / "refs.jsonl", lines)
        document = self._instances.document()
        write_atomically(self.directory / "instances.json", json.dumps(document))
        if self.lvis:
            write_atomically(self.directory / LVIS_FILE, json.dumps(federated_document(document)))


def write_scenes(
    directory: Path,
    count: int,
    seed: int,
    *,
    size: int = DEFAULT_SIZE,
    glyphs: tuple[Glyph, ...] | None = None,
    lvis: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write scenes ``seed`` to ``seed + count - 1``.

    Args:
        directory: receives ``images/``, ``refs.jsonl`` and ``instances.json``; the last two appear when all is done.
        count: how many.
        seed: number of the first.
        size: side of the pictures in pixels.
        glyphs: what may stand in them.
        lvis: whether ``lvis_scenes.json`` is written as well.
        advance: called after each.
    """
    chosen = glyphs or glyphs_of("train")
    files = SceneFiles(directory, chosen, lvis)
    for number in range(seed, seed + count):
        files.add(compose(number, size, chosen))
        advance()
    files.finish()

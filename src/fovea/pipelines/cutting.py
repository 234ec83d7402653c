"""Annotated pictures, or cut-outs from elsewhere, in; a folder of cut-outs for each category out."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.datasets.annotations import AnnotatedPicture, Annotation, read_annotations
from fovea.datasets.boxed_pictures import folders_of, usual_folder
from fovea.datasets.pictures_on_disk import find_picture
from fovea.errors import DataError, MissingPictureError, RegionError
from fovea.files import write_atomically
from fovea.outlines import mask_from_coco
from fovea.pasting.cutting import CutLimits, cut
from fovea.pasting.folders import FolderCutOuts
from fovea.pictures import open_cut_out, open_picture
from fovea.pipelines.blocks import BlockRun
from fovea.pipelines.output import Row
from fovea.pipelines.workers import reason_of
from fovea.pipelines.writing import count_pictures
from fovea.regions import decode_masks

#: Pictures or files that a stopped run looks at again at most.
PER_BLOCK = 200

# The most that file systems take, in characters of up to four bytes.
_LONGEST_NAME = 60

# Of names from files these characters stay; fovea reads "_" as a blank.
_UNSAFE = re.compile(r"[^\w()'.,&+-]+")


@dataclass(frozen=True, eq=False)
class CutBlock:
    """Some annotated pictures."""

    pictures: tuple[AnnotatedPicture, ...]
    categories: Mapping[int, str]
    folder: Path
    limits: CutLimits

    def make(self, directory: Path) -> Iterator[Row]:
        """See :class:`fovea.pipelines.blocks.Block`.

        Raises:
            DataError: none of its annotated pictures is there.
        """
        # Pictures without annotations are not looked for.
        missing, wanted = 0, sum(bool(picture.annotations) for picture in self.pictures)
        for picture in self.pictures:
            row: Row = {"id": picture.id}
            try:
                things, counts = self._things(picture)
            except MissingPictureError as error:
                missing += 1
                if missing == wanted:
                    # A block of failures would count as done, also once the pictures are there.
                    raise DataError(
                        f"none of {missing} pictures is there: {error.message}",
                        "give their folder with --pictures, or leave out of the annotations what you do not have",
                    ) from error
                yield row | {"status": "failed", "reason": str(error)}
                continue
            except Exception as error:
                yield row | {"status": "failed", "reason": reason_of(error)}
                continue
            for one, thing in things:
                _write(thing, directory / folder_name(self.categories[one.category]) / f"{one.id}.png")
            yield row | {"status": "ok", "regions": len(things), "left out": dict(counts)}

    def _things(self, described: AnnotatedPicture) -> tuple[list[tuple[Annotation, Image.Image]], Counter[str]]:
        """The things of a picture that are cut out, and how many are not, by reason."""
        things, counts = list[tuple[Annotation, Image.Image]](), Counter[str]()
        if not described.annotations:
            return things, counts
        picture = open_picture(find_picture(self.folder, described.file_name, folders_of(described)))
        if picture.size != described.size:
            raise DataError("the picture is of another size than its annotations say", "get it again")
        for one in described.annotations:
            mask = _mask(one, picture.size)
            found = mask if isinstance(mask, str) else cut(picture.pixels, mask, self.limits)
            if isinstance(found, str):
                counts[found] += 1
            else:
                things.append((one, found))
        return things, counts


@dataclass(frozen=True, eq=False)
class ShrinkBlock:
    """Some cut-outs from elsewhere; they keep their folders and names."""

    source: Path
    files: tuple[str, ...]
    limits: CutLimits

    def make(self, directory: Path) -> Iterator[Row]:
        """See :class:`fovea.pipelines.blocks.Block`."""
        for file in self.files:
            row: Row = {"id": file}
            try:
                pixels = np.asarray(open_cut_out(self.source / file))
                thing = cut(pixels[..., :3], pixels[..., 3], self.limits)
            except Exception as error:
                yield row | {"status": "failed", "reason": reason_of(error)}
                continue
            if isinstance(thing, str):
                yield row | {"status": "ok", "left out": {thing: 1}}
            else:
                _write(thing, directory / file)
                yield row | {"status": "ok", "regions": 1}


def _write(thing: Image.Image, path: Path) -> None:
    stream = io.BytesIO()
    thing.save(stream, "PNG", compress_level=3)
    write_atomically(path, stream.getvalue())


def _mask(one: Annotation, size: tuple[int, int]) -> np.ndarray | str:
    """``(H, W)`` bool, or why there is none."""
    if not one.segmentation:
        return "without a mask"
    try:
        rle = mask_from_coco(one.segmentation, size)
    except RegionError:
        return "with a broken mask"
    if tuple(rle["size"]) != size[::-1]:
        return "with a broken mask"
    return np.asarray(decode_masks([rle])[0])


def folder_name(category: str) -> str:
    """A category's name as the name of a folder; names come from a file and may hold anything."""
    name = _UNSAFE.sub("_", category).strip("_.")
    return name[:_LONGEST_NAME] or "unnamed"


def cut_run(
    annotations: Path, pictures: Path | None, directory: Path, limits: CutLimits, limit: int | None = None
) -> BlockRun:
    """The run that cuts the things of an annotation file out; its rows are for :func:`count_cut_outs`.

    Args:
        annotations: file in COCO's form, with masks. Crowds are left out.
        pictures: their folder, or a folder of COCO's folders; None for beside the file.
        directory: receives a folder for each category with ``NUMBER.png``, by the numbers of the annotations.
        limits: what is cut out.
        limit: pictures at most; None for all.

    Raises:
        DataError: the file is missing or broken, or holds no pictures.
    """
    file = read_annotations(annotations)
    chosen = file.pictures[:limit]
    if not chosen:
        raise DataError(f"{annotations} holds no pictures")
    categories = {number: category.name for number, category in file.categories.items()}
    folder = pictures or usual_folder(annotations)
    blocks = [chosen[start : start + PER_BLOCK] for start in range(0, len(chosen), PER_BLOCK)]
    about = {"annotations": f"{annotations.name} {file.fingerprint}", "pictures": len(chosen), "limits": asdict(limits)}
    return BlockRun(
        directory,
        about,
        tuple(map(len, blocks)),
        lambda number: CutBlock(blocks[number], categories, folder, limits),
    )


def shrink_run(source: Path, directory: Path, limits: CutLimits, limit: int | None = None) -> BlockRun:
    """The run that makes cut-outs from elsewhere fit: cropped, of one piece, and so small that they are read quickly.

    Args:
        source: a folder for each category, with ``.png`` files that are transparent around the thing.
        directory: receives the same folders and files.
        limits: what is kept.
        limit: files at most; None for all.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    cut_outs = FolderCutOuts.read(source, limits.longest, lambda folders: ())
    files = cut_outs.files[:limit]
    blocks = [files[start : start + PER_BLOCK] for start in range(0, len(files), PER_BLOCK)]
    about = {"cut-outs": cut_outs.key, "files": len(files), "limits": asdict(limits)}
    return BlockRun(
        directory, about, tuple(map(len, blocks)), lambda number: ShrinkBlock(source, blocks[number], limits)
    )


def count_cut_outs(rows: Iterable[Row]) -> tuple[Counter[str], Counter[str]]:
    """Pictures by status with their ``regions``, and things that were not cut out by reason."""
    rows = list(rows)
    reasons = Counter[str]()
    for row in rows:
        reasons.update(row.get("left out", {}))
    return count_pictures(rows), reasons

"""Pictures to audit: fovea's own lines, or COCO's instances, whose categories are the groups; and files of names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from fovea.errors import DataError, ExpressionError
from fovea.evaluation.bias import AuditPicture, Names
from fovea.proposers.given import read_json

_LINE = '{"file_name": "a.jpg", "regions": [{"box": [x1, y1, x2, y2], "group": "..."}]}'
_NAMES = '{"neutral": ["..."], "harmful": ["..."], "template": "This is an image of a {}"}'


def read_names(path: Path) -> Names:
    """Read the candidate names.

    Args:
        path: a JSON object with lists ``neutral`` and ``harmful`` and a text ``template``, with defaults for each.

    Raises:
        DataError: the file is missing or broken, or its names contradict each other.
    """
    data = read_json(path)
    known = {"neutral", "harmful", "template"}
    if not isinstance(data, dict) or not data or not data.keys() <= known:
        raise DataError(f"{path} holds no names", f"write {_NAMES}")
    try:
        fields: dict[str, Any] = {key: _texts(data[key]) for key in ("neutral", "harmful") if key in data}
        if "template" in data:
            fields["template"] = _text(data["template"])
        return Names(**fields)
    except (ValueError, ExpressionError) as error:
        raise DataError(f"the names in {path} are broken: {error}", f"write {_NAMES}") from error


def read_audit(path: Path, images: Path, names: Names) -> list[AuditPicture]:
    """Read pictures with regions and groups.

    Args:
        path: JSON lines, one per picture; a JSON list of the same; or COCO's instances.
        images: the folder of the pictures; no file outside of it is ever named.
        names: the names of the audit. Regions that bring ``names`` of their own take these as neutral. Where the audit
            has no neutral names, COCO's regions take all categories; other regions must then bring their own.

    Returns:
        One entry per picture with regions, in the order of the file. A region without a group belongs to ``all``.

    Raises:
        DataError: the file is missing or broken, or a region has no neutral names.
    """
    data = _document(path)
    try:
        pictures = _from_coco(data, images, names) if isinstance(data, dict) else _from_rows(data, images)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} holds no pictures to audit: {what}", f"write lines such as {_LINE}") from error
    if not pictures:
        raise DataError(f"{path} holds no regions", f"write lines such as {_LINE}")
    for picture in pictures:
        _check_names(picture, names)
    return pictures


def fingerprint(path: Path) -> str:
    """A hash of the file that :func:`read_audit` reads.

    Raises:
        DataError: it cannot be read.
    """
    return hashlib.blake2b(_bytes(path), digest_size=16).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "check the path") from error


def _document(path: Path) -> Any:
    """COCO's object, or a list of rows whatever they are written as."""
    try:
        text = _bytes(path).decode("utf-8")
    except ValueError as error:
        raise DataError(f"{path} is no text", f"write lines such as {_LINE}") from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return [_row(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [whole] if isinstance(whole, dict) and "annotations" not in whole else whole


def _row(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number} of {path} is no JSON: {error}", f"write lines such as {_LINE}") from error


def _from_rows(rows: Any, images: Path) -> list[AuditPicture]:
    """Pictures of our own form; several rows may speak of one picture."""
    if not isinstance(rows, list):
        raise ValueError("it is neither a list of pictures nor COCO's instances")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        regions = row["regions"]
        if not isinstance(regions, list):
            raise ValueError("the regions of a picture are no list")
        found.setdefault(_inside(row["file_name"]), []).extend(regions)
    return [_picture(name, images, regions) for name, regions in found.items() if regions]


def _from_coco(data: dict[str, Any], images: Path, names: Names) -> list[AuditPicture]:
    categories = {row["id"]: _text(row["name"]) for row in data["categories"]}
    found: dict[str, list[dict[str, Any]]] = {}
    place = {row["id"]: _inside(row["file_name"]) for row in data["images"]}
    for row in data["annotations"]:
        # What is marked as a crowd is many things in one region.
        if not row.get("iscrowd"):
            x, y, width, height = _numbers(row["bbox"])
            region = {"box": [x, y, x + width, y + height], "group": categories[row["category_id"]]}
            region["segmentation"] = row.get("segmentation")
            if not names.neutral:
                region["names"] = [*categories.values()]
            found.setdefault(place[row["image_id"]], []).append(region)
    return [_picture(name, images, regions) for name, regions in found.items()]


def _picture(name: str, images: Path, regions: list[dict[str, Any]]) -> AuditPicture:
    segmentations = tuple(region.get("segmentation") for region in regions)
    return AuditPicture(
        key=name,
        picture=images / name,
        boxes=[_numbers(region["box"]) for region in regions],
        groups=tuple(_text(region.get("group", "all")) for region in regions),
        neutral=tuple(_texts(region["names"]) if "names" in region else None for region in regions),
        segmentations=segmentations if all(segmentations) else None,
    )


def _inside(name: Any) -> str:
    """A file name that stays inside of its folder, whatever the data says."""
    parts = [part for part in PurePosixPath(_text(name).replace("\\", "/")).parts if part not in ("/", "..")]
    if not parts:
        raise ValueError(f"{name!r} is no file name")
    return "/".join(parts)


def _numbers(box: Any) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise ValueError(f"{str(box)[:80]} is no box of four numbers")
    return [float(value) for value in box]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{str(value)[:80]!r} is no text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{str(values)[:80]!r} is no list of names")
    return tuple(_text(value) for value in values)


def _check_names(picture: AuditPicture, names: Names) -> None:
    """Refuse what would only show in the middle of a long run."""
    for own in set(picture.neutral):
        try:
            neutral = names.neutral if own is None else replace(names, neutral=own).neutral
        except (DataError, ExpressionError) as error:
            raise DataError(f"the names of a region of {picture.key} are of no use: {error}") from error
        if not neutral:
            raise DataError(
                f"a region of {picture.key} has no neutral names", "give it some, or all regions by --names"
            )

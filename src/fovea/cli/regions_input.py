"""Regions that a user names on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.errors import RegionError

if TYPE_CHECKING:
    from fovea.grounder import Grounder
    from fovea.pictures import Picture
    from fovea.regions import Regions


def parse_point(text: str) -> tuple[float, float]:
    """Read ``X,Y``.

    Raises:
        RegionError: it is no pair of numbers.
    """
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise RegionError(f"{text!r} is no point", "write it as X,Y in pixels, such as 120,85") from error
    return x, y


def named_regions(
    picture: Picture,
    grounder: Grounder,
    boxes: Path | None,
    mask: Path | None,
    points: Sequence[str] | None,
    grid: bool,
) -> Regions:
    """The regions that exactly one of the options names.

    Raises:
        RegionError: none or several are given.
    """
    from fovea.proposers.given import mask_from_file, regions_from_file

    given = [
        name for name, value in (("--boxes", boxes), ("--mask", mask), ("--point", points), ("--grid", grid)) if value
    ]
    if len(given) != 1:
        what = " and ".join(given) + " are given together" if given else "no region is named"
        raise RegionError(what, "give one of --boxes, --mask, --point or --grid")
    if boxes is not None:
        return grounder.propose(picture, regions=regions_from_file(boxes, picture))
    if mask is not None:
        return grounder.propose(picture, regions=mask_from_file(mask, picture))
    if points:
        return grounder.propose(picture, points=[parse_point(point) for point in points])
    return grounder.propose(picture)

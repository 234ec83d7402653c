"""Regions that a user names on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.errors import RegionError

if TYPE_CHECKING:
    from fovea.cache import FeatureCache
    from fovea.pictures import Picture
    from fovea.proposers.finder import RegionFinder
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
    finder: RegionFinder,
    with_masks: bool,
    cache: FeatureCache,
    *,
    boxes: Path | None,
    mask: Path | None,
    points: Sequence[str] | None,
    grid: bool = False,
) -> Regions:
    """The regions that exactly one of the options names.

    Raises:
        RegionError: none or several are given.
    """
    from fovea.proposers.finder import Pointed
    from fovea.proposers.given import mask_from_file, regions_from_file

    given = [
        name for name, value in (("--boxes", boxes), ("--mask", mask), ("--point", points), ("--grid", grid)) if value
    ]
    if len(given) != 1:
        what = " and ".join(given) + " are given together" if given else "no region is named"
        raise RegionError(what, "give one of --boxes, --mask, --point or --grid")
    pointed = Pointed()
    if boxes is not None:
        pointed = Pointed(regions=regions_from_file(boxes, picture))
    elif mask is not None:
        pointed = Pointed(regions=mask_from_file(mask, picture))
    elif points:
        pointed = Pointed(points=[parse_point(point) for point in points])
    return finder.find(picture, pointed, with_masks, cache)

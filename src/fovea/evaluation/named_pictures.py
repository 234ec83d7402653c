"""What naming is measured on: pictures whose regions have names, and the names that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fovea.pictures import Picture
from fovea.regions import Regions


@dataclass(frozen=True)
class NamedClass:
    """One class of a vocabulary.

    Attributes:
        name: tells it from all others in results.
        text: what a scorer is asked. Classes may share one: then none of them can be told from the others, and what is
            right for one is right for all.
        group: what it is reported with beside the whole; empty for none.
    """

    name: str
    text: str
    group: str = ""


@dataclass(frozen=True, eq=False)
class NamedRegions:
    """A decoded picture, its regions, and for each the index of its class."""

    picture: Picture
    regions: Regions
    classes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NamedPicture:
    """A picture whose regions have names.

    Attributes:
        key: names it in result files.
        open: decodes or composes it; raises a PictureError or a RegionError where it is broken.
    """

    key: str
    open: Callable[[], NamedRegions]


@dataclass(frozen=True, eq=False)
class NamingBenchmark:
    """What is measured.

    Attributes:
        name: of the benchmark.
        pictures: with their regions; cheap to look at until one is opened.
        classes: the vocabulary.
        origin: tells the data from others in result files.
        template: sentence around the classes' texts where the data states its own; None leaves it to the recipe.
        split: how tables name it; empty where no table does.
    """

    name: str
    pictures: Sequence[NamedPicture]
    classes: tuple[NamedClass, ...]
    origin: str
    template: str | None = None
    split: str = ""

    @property
    def texts(self) -> list[str]:
        """What scorers are asked, each text once."""
        return list(dict.fromkeys(one.text for one in self.classes))

"""The protocol of naming: what is this region, of all that it could be called?

Regions are annotated and given to the recipe as masks, as boxes or not at all; their names are a fixed vocabulary
(specs/alphaclip.md, 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fovea.choices import chosen
from fovea.errors import DataError, ExpressionError, PictureError, RegionError
from fovea.evaluation.named_pictures import NamedPicture, NamingBenchmark
from fovea.evaluation.results import Row, append, resume
from fovea.grounder import Grounder
from fovea.proposers.finder import Pointed
from fovea.regions import Regions

#: How a region is given: by its mask, by its box, or not at all, so that the picture as a whole is named.
RegionForm = Literal["mask", "box", "whole"]

# What a row of results must have to be counted.
_NEEDED = frozenset({"key", "class", "group", "rank", "source"})


def known_form(name: str) -> RegionForm:
    """A form by name.

    Raises:
        DataError: there is no such form.
    """
    known: tuple[RegionForm, ...] = get_args(RegionForm)
    return chosen(name, known, DataError(f"regions cannot be given as {name!r}", f"known are {', '.join(known)}"))


@dataclass(frozen=True)
class Naming:
    """What was measured.

    Attributes:
        rows: one per region: ``key``, ``region``, its ``class`` and ``group``, the ``rank`` of its name from 1, the
            text on ``top``, and the ``source`` of the region.
        failed: pictures that could not be looked at, with the reason.
    """

    rows: tuple[Row, ...]
    failed: Mapping[str, str]


def given_as(regions: Regions, form: RegionForm) -> Regions:
    """Annotated regions as a recipe gets to see them.

    Boxes bring the mask that fills them, so that no segmenter adds what was not given.

    Args:
        regions: N annotated regions.
        form: how they are given.

    Returns:
        N regions with masks; of ``whole`` one, the picture.

    Raises:
        DataError: masks are wanted and the data has none.
    """
    if form == "mask":
        if regions.masks is None:
            raise DataError("the data has boxes and no masks", "use --region box")
        return regions
    whole = np.array([[0, 0, *regions.size]], np.float32)
    boxes = regions.boxes if form == "box" else whole
    return Regions(boxes, regions.size, regions.source).with_filled_boxes()


def ranks(scores: np.ndarray, right: Sequence[int]) -> np.ndarray:
    """Places of the right columns in every row, best first.

    Args:
        scores: ``(R, T)``, no NaN.
        right: R columns.

    Returns:
        ``(R,)`` int64 from 1 on. Ties count against: a scorer that tells nothing apart ranks everything last.
    """
    own = scores[np.arange(len(scores)), list(right)]
    return np.asarray((scores >= own[:, None]).sum(axis=1))


def measure_names(grounder: Grounder, one: NamedPicture, benchmark: NamingBenchmark, form: RegionForm) -> list[Row]:
    """One row for every region of a picture, which is looked at once; arguments as of :class:`NamingRun`."""
    named, texts = one.open(), benchmark.texts
    if not named.classes:
        return []
    given = Pointed(regions=given_as(named.regions, form))
    regions = grounder.finder.find(named.picture, given, grounder.scorer.needs_masks, grounder.cache)
    # Where names are not taken as they are, a recipe is asked the benchmark's own texts.
    ask = grounder.name if grounder.names_as_written else grounder.ask
    scores = ask(named.picture, regions, texts).values
    if np.isnan(scores).any():
        raise ExpressionError(f"{grounder.models} gives scores that are not finite", "try --dtype float32")
    if form == "whole":
        scores = np.repeat(scores, len(named.classes), axis=0)
    classes = [benchmark.classes[index] for index in named.classes]
    places = ranks(scores, [texts.index(known.text) for known in classes])
    return [
        {
            "key": one.key,
            "region": index,
            "class": known.name,
            "group": known.group,
            "rank": int(place),
            "top": texts[int(row.argmax())],
            "source": regions.source,
        }
        for index, (known, place, row) in enumerate(zip(classes, places, scores, strict=True))
    ]


class NamingRun:
    """A recipe that names the regions of one picture after the other.

    Args:
        grounder: what is measured; its relations play no part, a name says nothing about places.
        benchmark: on what.
        form: how regions are given.
        out: receives a line that says what was measured, then one line per picture, a JSON list of its rows; pictures
            that it holds already are not looked at again.
        experiment: what else the results depend on, such as the data and the weights; kept in ``out``.

    Raises:
        DataError: ``out`` holds something else, or results of another experiment.
    """

    def __init__(
        self,
        grounder: Grounder,
        benchmark: NamingBenchmark,
        form: RegionForm,
        out: Path | None = None,
        experiment: Mapping[str, str] | None = None,
    ) -> None:
        self.grounder, self.benchmark, self.form, self.out = grounder, benchmark, form, out
        header = {"recipe": grounder.recipe, "models": grounder.models, "region": form, **(experiment or {})}
        self._done = {} if out is None else resume(out, header, _NEEDED)
        self._rows: list[Row] = []
        self._failed: dict[str, str] = {}

    def look(self, picture: NamedPicture) -> None:
        """Name the regions of a picture; one that is broken is remembered as failed.

        Raises:
            DataError: the data lacks masks or the picture.
            ExpressionError: a model gives no finite score.
        """
        found = self._done.get(picture.key)
        if found is None:
            try:
                found = measure_names(self.grounder, picture, self.benchmark, self.form)
            except (PictureError, RegionError) as error:
                self._failed[picture.key] = str(error)
                return
            if self.out is not None and found:
                append(self.out, found)
        self._rows += found

    @property
    def result(self) -> Naming:
        """What was measured so far."""
        return Naming(tuple(self._rows), dict(self._failed))

"""The protocol of told boxes: everything in a picture is asked for by name, and each answer is read and compared.

Source: PIN (Dorkenwald et al., CVPR 2024) and its released program; specs/pin.md, 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fovea.errors import PictureError, RegionError
from fovea.evaluation.asked_pictures import AskedPicture, AskedThings, BoxForm, TellingBenchmark, in_frame
from fovea.evaluation.results import Row, append, resume
from fovea.evaluation.told_boxes import InvalidPolicy, known_policy, size_class, summarise_told, told_ious
from fovea.tellers import BoxTeller
from fovea.tellers.reading import Reading, box_of, known_reading
from fovea.tellers.squashing import squashed

#: Pictures that are asked about together.
AT_ONCE = 16

# What a row of results must have to be counted.
_NEEDED = frozenset({"key", "draw", "size", "group", "iou", "read"})


@dataclass(frozen=True)
class Judging:
    """How answers become figures; said with every result.

    Attributes:
        reading: how strictly they are read.
        invalid: what one counts as that cannot be read.
    """

    reading: Reading = "strict"
    invalid: InvalidPolicy = "zero"


def known_judging(reading: str, invalid: str) -> Judging:
    """By names.

    Raises:
        FoveaError: one is not known.
    """
    return Judging(known_reading(reading), known_policy(invalid))


@dataclass(frozen=True)
class Telling:
    """What was measured.

    Attributes:
        rows: one per thing and draw: ``key``, ``thing``, ``draw``, ``name``, ``group``, ``size``, ``truth`` and ``box``
            in pixels of the frame, the ``answer``, whether it could be ``read``, and its ``iou``.
        failed: pictures that could not be looked at, with the reason.
    """

    rows: tuple[Row, ...]
    failed: Mapping[str, str]


def ask(teller: BoxTeller, things: Sequence[AskedThings]) -> list[list[str]]:
    """An answer for every thing of every picture; things of one name in a picture are asked for once.

    Args:
        teller: who is asked.
        things: of pictures; all together are one call.
    """
    wanted = [(place, name) for place, one in enumerate(things) for name in dict.fromkeys(one.names)]
    if not wanted:
        return [[] for _ in things]
    frames = [squashed(one.picture, teller.size) for one in things]
    told = teller.tell(np.stack([frames[place] for place, _ in wanted]), [name for _, name in wanted])
    answers = dict(zip(wanted, told, strict=True))
    return [[answers[place, name] for name in one.names] for place, one in enumerate(things)]


def judge(
    key: str, draw: int, things: AskedThings, answers: Sequence[str], teller: BoxTeller, form: BoxForm, judging: Judging
) -> Iterator[Row]:
    """The rows of one picture and draw."""
    frame = teller.size
    truth = [tuple(box) for box in in_frame(things.boxes, things.picture.size, frame, form).tolist()]
    boxes = [box_of(answer, teller.codec, (frame, frame), judging.reading) for answer in answers]
    ious = told_ious(boxes, truth, judging.invalid, teller.codec, frame)
    groups = things.groups or ("",) * len(things.names)
    for thing, (name, group, box, right, answer, iou) in enumerate(
        zip(things.names, groups, boxes, truth, answers, ious.tolist(), strict=True)
    ):
        yield {
            "key": key,
            "thing": thing,
            "draw": draw,
            "name": name,
            "group": group,
            "size": size_class(right, frame),
            "truth": [round(value, 2) for value in right],
            "box": None if box is None else [round(value, 2) for value in box],
            "read": box is not None,
            "answer": answer,
            "iou": round(iou, 6),
        }


class TellingRun:
    """Tellers that are asked about one picture after the other.

    Args:
        tellers: one for every draw of what is drawn, such as blind guesses or examples; all of one size.
        benchmark: on what.
        judging: how answers become figures.
        out: receives a line that says what was measured, then one line per picture, a JSON list of its rows; pictures
            that it holds already are not asked about again.
        experiment: what else the results depend on, such as the data and the weights; kept in ``out``.

    Raises:
        DataError: ``out`` holds something else, or results of another experiment.
    """

    def __init__(
        self,
        tellers: Sequence[BoxTeller],
        benchmark: TellingBenchmark,
        judging: Judging,
        out: Path | None = None,
        experiment: Mapping[str, str] | None = None,
    ) -> None:
        self.tellers, self.benchmark, self.judging, self.out = tuple(tellers), benchmark, judging, out
        header = {"reading": judging.reading, "invalid": judging.invalid, **(experiment or {})}
        self._done: dict[str, list[Row]] = {} if out is None else resume(out, header, _NEEDED)
        self._failed: dict[str, str] = {}

    def look(self, pictures: Sequence[AskedPicture]) -> None:
        """Ask about some pictures together; those that are broken are remembered as failed.

        Raises:
            DataError: the data lacks a picture.
            FoveaError: a teller cannot be asked.
        """
        opened = {}
        for picture in pictures:
            if picture.key not in self._done:
                try:
                    opened[picture.key] = picture.open()
                except (PictureError, RegionError) as error:
                    self._failed[picture.key] = str(error)
        for key, rows in self._measured(opened).items():
            self._done[key] = rows
            if self.out is not None and rows:
                append(self.out, rows)

    def _measured(self, opened: Mapping[str, AskedThings]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {key: [] for key in opened}
        for draw, teller in enumerate(self.tellers):
            told = ask(teller, list(opened.values()))
            for (key, things), answers in zip(opened.items(), told, strict=True):
                found[key] += judge(key, draw, things, answers, teller, self.benchmark.form, self.judging)
        return found

    @property
    def result(self) -> Telling:
        """What was measured so far, in the benchmark's order."""
        rows = [row for picture in self.benchmark.pictures for row in self._done.get(picture.key, ())]
        return Telling(tuple(rows), dict(self._failed))


def summarise_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over things, and over draws of those.

    Returns:
        ``n`` things; the measures of :func:`fovea.evaluation.told_boxes.summarise_told`, ``unread`` (the share of
        answers that cannot be read), and ``deviation``: of the same between draws, None where there are fewer than two.
    """
    draws: dict[int, list[Row]] = {}
    for row in rows:
        draws.setdefault(row["draw"], []).append(row)
    each = [_figures(some) for some in draws.values()] or [_figures([])]
    values = {name: [one[name] for one in each if one[name] is not None] for name in each[0] if name != "n"}
    return {
        "n": each[0]["n"],
        **{name: round(float(np.mean(some)), 4) if some else None for name, some in values.items()},
        "deviation": {name: round(float(np.std(some, ddof=1)), 4) for name, some in values.items() if len(some) > 1}
        or None,
    }


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    unread = [float(not row["read"]) for row in rows]
    told = summarise_told([row["iou"] for row in rows], [row["size"] for row in rows])
    return {**told, "unread": sum(unread) / len(unread) if unread else None}

"""Region-text pairs for a CLIP with an alpha plane, from grounding records, classified pictures and scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from fovea import __version__
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.datasets.region_texts import from_members
from fovea.datasets.shards import Sample, read_shard
from fovea.errors import DataError
from fovea.pipelines.describer import NO_CAPTIONER, PictureDescriber, Settings
from fovea.pipelines.lock import RunLock
from fovea.pipelines.output import Output, Row
from fovea.pipelines.records import Candidate, Content, Record, Skipped
from fovea.pipelines.run import run_units
from fovea.pipelines.sources import Plan

#: Opens what is told about progress: from a word for the work and the number of pictures, None where it is not known,
#: to a function that takes the number of pictures done since its last call.
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]

_SILENT: Progress = lambda what, total: nullcontext(lambda count: None)  # noqa: E731


@dataclass(frozen=True)
class CandidateUnit:
    """What the first pass found in a unit, for the second: a :class:`fovea.pipelines.run.Unit`."""

    number: int
    candidates: Output

    def records(self) -> Iterator[Record]:
        """The same pictures in the same order; what failed or was skipped in the first pass does so again."""
        samples = read_shard(self.candidates.shard(self.number), frozenset({"jpg", "png", "json"}))
        for row in self.candidates.rows(self.number):
            sample = next(samples, None) if row["status"] == "ok" else None
            yield Record(row["source"], lambda row=row, sample=sample: _candidate(row, sample))  # type: ignore[misc]


def _candidate(row: Row, sample: Sample | None) -> Content:
    if row["status"] == "skipped":
        raise Skipped(row["reason"])
    if sample is None:
        raise DataError(row.get("reason", "its candidates are missing"))
    return Candidate(from_members(sample.key, sample.members))


@dataclass(frozen=True)
class RgbaRun:
    """One share of the work.

    Attributes:
        plan: all the work.
        output: where to.
        settings: how.
        share: which share this run does, from 1 on: every ``shares``-th unit.
        shares: how many runs do the work together.
    """

    plan: Plan
    output: Output
    settings: Settings
    share: int = 1
    shares: int = 1

    @property
    def candidates(self) -> Output:
        """What the first pass finds in classified pictures; kept, so that other settings of the second can follow."""
        return Output(self.output.directory / "candidates")

    @property
    def mine(self) -> list[int]:
        """Numbers of the units of this share."""
        return list(range(self.share - 1, len(self.plan.units), self.shares))

    def pictures(self, numbers: Sequence[int]) -> int | None:
        """How many pictures some units hold; None where one does not know."""
        counts = [self.plan.units[number].count() for number in numbers]
        return None if None in counts else sum(filter(None, counts))

    def check(self) -> None:
        """Look whether the output may receive these data; nothing is written.

        Raises:
            DataError: it holds data of other settings.
        """
        self.output.check(self._about)
        if any(self.plan.units[number].ranked for number in self.mine):
            self.candidates.check(self._about_candidates)

    def run(self, workers: int = 1, progress: Progress = _SILENT) -> int:
        """Do what is not done yet.

        Args:
            workers: processes that work side by side.
            progress: is told how far it is.

        Returns:
            How many units of this share wait for candidates that other shares have to find first.

        Raises:
            FoveaError: the output holds other data or is in use, a model cannot be loaded, a source cannot be read.
        """
        lock = RunLock(self.output.directory, self.share, self.shares)
        try:
            self.output.prepare(self._about(), self.share)
            return self._run(lock, workers, progress)
        finally:
            lock.release()

    def _run(self, lock: RunLock, workers: int, progress: Progress) -> int:
        units, describer = self.plan.units, PictureDescriber(self.settings)

        def work(
            what: str, numbers: list[int], make: Callable[[int], Any], into: Output, how: PictureDescriber
        ) -> None:
            left = [number for number in numbers if not into.done(number)]
            if left:
                with progress(what, self.pictures(left)) as advance:
                    run_units([(number, make(number)) for number in left], into, how, lock, workers, advance)

        ranked = [number for number in self.mine if units[number].ranked]
        if ranked:
            self.candidates.prepare(self._about_candidates(), self.share)
            # Those that are described already are never ranked again.
            work("candidates", ranked, units.__getitem__, self.candidates, describer)
        direct = [number for number in self.mine if not units[number].ranked]
        work("pictures", direct, units.__getitem__, self.output, describer)
        everywhere = [number for number, unit in enumerate(units) if unit.ranked]
        if not all(map(self.candidates.done, everywhere)):
            return sum(not self.output.done(number) for number in ranked)
        if not all(map(self.output.done, ranked)):
            judge = PictureDescriber(self.settings, self._thresholds(everywhere))
            work("descriptions", ranked, lambda number: CandidateUnit(number, self.candidates), self.output, judge)
        return 0

    def _thresholds(self, numbers: Sequence[int]) -> dict[str, float]:
        rows = chain.from_iterable(map(self.candidates.rows, numbers))
        scored = ((row["class"], score) for row in rows if row["status"] == "ok" for score in row["scores"])
        return self.settings.ranking.thresholds(scored)

    def count(self) -> Counter[str]:
        """Pictures of this share by status, and ``regions``, in the units that are done."""
        return self.output.count(number for number in self.mine if self.output.done(number))

    def _about(self) -> dict[str, Any]:
        """What the data come from; a run with another answer must not go on with them."""
        about = self._about_candidates()
        about["shards"] = self.output.form
        if self._ranks:
            about["settings"]["keep"] = asdict(self.settings.ranking)
            about["models"]["captioner"] = self.settings.captioner
            if self.settings.captioner != NO_CAPTIONER:
                about["models"]["captioner weights"] = fingerprint(self.settings.captioner)
        return about

    def _about_candidates(self) -> dict[str, Any]:
        sources = resolve_models(self.settings.models)
        models: dict[str, Any] = {"name": sources.name, "sam weights": fingerprint(sources.sam)}
        settings: dict[str, Any] = {"dtype": self.settings.dtype}
        if self._ranks:
            models["clip weights"] = [fingerprint(source) for source in sources.clips]
            settings |= {"grid": self.settings.grid.name, "candidates per picture": self.settings.per_picture}
        return {
            "fovea": __version__,
            "sources": list(self.plan.sources),
            "cut": self.plan.cut,
            "settings": settings,
            "models": models,
        }

    @property
    def _ranks(self) -> bool:
        return any(unit.ranked for unit in self.plan.units)

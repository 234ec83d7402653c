"""Benchmarks by name: which pictures, what is said about them, and which table of a paper they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

from fovea.choices import chosen
from fovea.datasets.annotations import find_annotations, split_name
from fovea.datasets.coco import read_coco
from fovea.datasets.paco import read_paco
from fovea.datasets.phrasecut import read_phrasecut
from fovea.datasets.refcoco import expression_files, read_refcoco
from fovea.datasets.refer import SPLIT_BY, read_refer
from fovea.errors import DataError
from fovea.evaluation.examples import (
    Example,
    Kind,
    composed_examples,
    composed_part_examples,
    fingerprint,
    read_examples,
)
from fovea.files import content_hash

#: Every benchmark, with what it asks for.
BENCHMARKS = {
    "scenes": "expressions, composed or of `fovea scenes`",
    "parts": "objects and parts of composed scenes",
    "refcoco": "expressions, in ReCLIP's files",
    "refcoco-masks": "expressions, in REFER's files; regions have masks",
    "phrasecut": "phrases that may mean several things at once",
    "coco": "objects by the names of their categories",
    "paco": "objects and parts",
}

#: Composed scenes where no number is given.
COMPOSED = 500

#: Sentence around the phrase of a part, which is complete: the phrase alone.
_COMPLETE = "{}"


@dataclass(frozen=True)
class Source:
    """What a user says about the data of a benchmark.

    Attributes:
        data: directory with the files and pictures; None composes scenes.
        split: name of the file of expressions or annotations, or how it ends.
        kind: ``part`` or ``object`` where both can be asked for, or None.
        limit: how many pictures at most; all of a directory by default, or ``COMPOSED``.
        seed: number of the first composed scene.
        names: which glyphs composed scenes show.
        class_names: what classes are called, where the annotations do not say.
        background: what stands around things that are cut out: ``kept`` or ``white``.
    """

    data: Path | None = None
    split: str | None = None
    kind: str | None = None
    limit: int | None = None
    seed: int = 1_000_000
    names: str = "train"
    class_names: Path | None = None
    background: str = "kept"


class Described(Protocol):
    """What every benchmark says of itself, whatever is asked: see :class:`Benchmark`."""

    @property
    def name(self) -> str:
        """Of the benchmark."""
        ...

    @property
    def origin(self) -> str:
        """Tells the data from others."""
        ...

    @property
    def template(self) -> str | None:
        """Sentence around texts, or None."""
        ...

    @property
    def split(self) -> str:
        """How tables name it, or nothing."""
        ...


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What is measured.

    Attributes:
        name: of the benchmark, and of the kind where there are several.
        examples: the pictures.
        origin: tells the data from others in result files.
        template: sentence around the expressions where the data states its own; None leaves it to the recipe.
        split: how tables name it, such as ``paco-val``; empty where no table does.
    """

    name: str
    examples: Sequence[Example]
    origin: str
    template: str | None = None
    split: str = ""


def open_benchmark(name: str, source: Source) -> Benchmark:
    """A benchmark by name.

    Args:
        name: one of ``BENCHMARKS``.
        source: where its data is.

    Raises:
        DataError: there is no such benchmark, or its data is missing or broken.
    """
    if name not in BENCHMARKS:
        raise DataError(f"there is no benchmark called {name!r}", f"known are: {', '.join(BENCHMARKS)}")
    if name in ("parts", "paco"):
        return _parts(name, source)
    if source.kind is not None:
        raise DataError(f"{name} has one kind of questions only", "leave --kind out")
    if name == "scenes":
        return _scenes(source)
    data = needed_directory(name, source)
    if name == "refcoco-masks":
        return _refer(data, source)
    if name == "phrasecut":
        phrases = read_phrasecut(data, source.split or "test", source.limit)
        return Benchmark(name, phrases, phrases.origin, split=f"phrasecut-{source.split or 'test'} oIoU")
    if name == "coco":
        found = read_coco(data, source.split, source.limit)
        split = split_name(find_annotations(data, "instances", source.split))
        return Benchmark(name, found, found.origin, split=f"coco-{split}")
    examples = read_refcoco(data, source.split, source.limit)
    origin = f"{source.split or ''} {content_hash(*expression_files(data, source.split))}".strip()
    return Benchmark(name, examples, origin, split=(source.split or "").replace("_", "-"))


@dataclass(frozen=True)
class ReferSplit:
    """A split of REFER's files.

    Attributes:
        dataset: such as ``refcoco+``.
        part: such as ``testA``.
        split_by: who divided the data; None for the usual division.
    """

    dataset: str
    part: str
    split_by: str | None

    @property
    def usual(self) -> bool:
        """Whether papers report this division."""
        return self.split_by in (None, SPLIT_BY.get(self.dataset))


def refer_split(name: str) -> ReferSplit:
    """A split as tables name it: ``refcoco-testA``, ``refcocog-google-val``.

    Raises:
        DataError: it names none.
    """
    dataset, _, rest = name.partition("-")
    split_by, _, part = rest.rpartition("-")
    if not part:
        raise DataError(f"{name!r} names no split", "write it as refcoco+-testA or refcocog-google-val")
    return ReferSplit(dataset, part, split_by or None)


def _refer(data: Path, source: Source) -> Benchmark:
    split = refer_split(source.split or "refcoco-val")
    examples = read_refer(data, split.dataset, split.part, split.split_by, limit=source.limit)
    place = f"{split.dataset}-{split.part} mIoU" if split.usual else ""
    return Benchmark("refcoco-masks", examples, examples.origin, split=place)


def needed_directory(name: str, source: Source) -> Path:
    """The data of a benchmark that cannot do without.

    Raises:
        DataError: none is named.
    """
    if source.data is None:
        raise DataError(f"{name} needs its data", "name the directory with --data")
    return source.data


def _scenes(source: Source) -> Benchmark:
    if source.data is not None:
        return Benchmark("scenes", read_examples(source.data, source.limit), fingerprint(source.data))
    composed = composed_examples(source.seed, source.limit or COMPOSED, source.names)
    return Benchmark("scenes", composed, composed.origin)


def _parts(name: str, source: Source) -> Benchmark:
    """Objects and parts are measured apart: other candidates, another sentence."""
    kind = _kind(source.kind)
    template = _COMPLETE if kind == "part" else None
    if name == "parts" and source.data is None:
        composed = composed_part_examples(source.seed, source.limit or COMPOSED, source.names, kind)
        return Benchmark(f"parts, {kind}s", composed, composed.origin, template)
    data = needed_directory(name, source)
    examples = read_paco(data, source.split, kind, source.limit)
    path = find_annotations(data, "paco_", source.split)
    # The paper's column is of parts, and of the pictures from LVIS.
    known = name == "paco" and kind == "part" and path.stem.startswith("paco_lvis")
    split = f"paco-{split_name(path)}" if known else ""
    return Benchmark(f"{name}, {kind}s", examples, examples.origin, template, split)


def _kind(kind: str | None) -> Kind:
    """What is asked for; parts by default, as in the paper."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    if kind is None:
        return kinds[0]
    error = DataError(f"there is no kind of questions called {kind!r}", f"known are {' and '.join(kinds)}")
    return chosen(kind, kinds, error)

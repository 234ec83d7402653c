"""Categories of benchmarks that nothing pasted may show, so that the benchmarks stay unseen.

Categories are compared by their whole WordNet sense: by its first word alone, as the released program did it, "beef",
"pot" and "tote bag" go instead of LVIS's cow (``beef.n.01``), flowerpot (``pot.n.04``) and suitcase (``bag.n.06``)
(specs/pin.md, 5). Kinds of an excluded category, such as a duck beside "bird", stay, as in the paper.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fovea.errors import DataError, ExpressionError
from fovea.language.names import readable

#: Benchmarks whose categories are known: COCO's 80 and Pascal VOC's 20.
BENCHMARKS = ("coco", "voc")

_HINT = 'give LVIS\'s annotations, or its list of categories with "name", "synset" and "synonyms"'


@dataclass(frozen=True)
class _Unseen:
    """What goes with a benchmark: senses, and names in which each sense may be said."""

    synsets: frozenset[str]
    words: frozenset[str]


@dataclass(frozen=True)
class Sense:
    """What a list of categories says of one.

    Attributes:
        synset: its WordNet sense, such as ``pot.n.04``.
        synonyms: its names, with remarks in parentheses that tell their sense.
    """

    synset: str
    synonyms: tuple[str, ...]


def excluded(
    names: Iterable[str], benchmarks: Collection[str], senses: Mapping[str, Sense] | None = None
) -> frozenset[str]:
    """Which categories are those of benchmarks.

    Args:
        names: of categories, as folders or files write them: ``tote_bag``, ``mouse_(computer_equipment)``.
        benchmarks: of ``BENCHMARKS``.
        senses: what :func:`read_senses` knows of names; others are compared as they are said, whatever their sense.

    Raises:
        DataError: a benchmark is not known.
    """
    unseen = [_unseen(benchmark) for benchmark in benchmarks]
    return frozenset(name for name in names if any(_is(name, one, senses or {}) for one in unseen))


def _is(name: str, unseen: _Unseen, senses: Mapping[str, Sense]) -> bool:
    sense = senses.get(_plain(name))
    if sense is not None:
        # With a remark a name is of another sense than the bare one, unless its synset says that it is not.
        return sense.synset in unseen.synsets or any(_plain(word) in unseen.words for word in sense.synonyms)
    try:
        return readable(name) in unseen.words
    except ExpressionError:
        return False


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).lower()


def read_senses(path: Path) -> dict[str, Sense]:
    """Read a list of categories.

    Args:
        path: an annotation file of LVIS, or the list of its categories alone.

    Returns:
        Senses by name, which is in lower case with spaces in place of underscores.

    Raises:
        DataError: it cannot be read or is of another form.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = data["categories"] if isinstance(data, dict) else data
        senses = {_plain(row["name"]): _sense(row) for row in rows}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", _HINT) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} holds no list of categories: {error!r}"[:300], _HINT) from error
    if not senses:
        raise DataError(f"{path} names no category", _HINT)
    return senses


def _sense(row: Mapping[str, Any]) -> Sense:
    synset, synonyms = row["synset"], (row["name"], *row.get("synonyms", ()))
    if not all(isinstance(word, str) for word in (synset, *synonyms)):
        raise TypeError(f"{row['name']!r} has a name that is no text")
    return Sense(synset, synonyms)


@cache
def _unseen(benchmark: str) -> _Unseen:
    """From the table beside this file: names in COCO, in VOC, synsets, synonyms."""
    if benchmark not in BENCHMARKS:
        raise DataError(f"no categories are known of {benchmark!r}", f"known are {', '.join(BENCHMARKS)}")
    lines = Path(__file__).with_name("benchmark_senses.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    # A dash stands where a benchmark has no such category.
    mine = [row for row in rows if row[BENCHMARKS.index(benchmark)] != "-"]
    synsets = frozenset(synset for row in mine for synset in row[2].split(", "))
    words = frozenset(word for row in mine for word in (row[0], row[1], *row[3].split(", ")) if word != "-")
    return _Unseen(synsets, words)

"""Who is measured saying boxes: a captioner as it is, blind guesses, solved examples in front, and what was trained."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fovea.backbones.models import Models
from fovea.backbones.sources import fingerprint
from fovea.errors import CheckpointError, DataError, ExpressionError
from fovea.pasting.glyphs import glyph_pasting
from fovea.pasting.grid import PasteSettings
from fovea.tellers import BoxTeller
from fovea.tellers.guesses import RandomTeller
from fovea.tellers.hosted import HostTeller, pasted_examples

_logger = logging.getLogger(__name__)

#: What can be named, where K stands for a number.
KNOWN_TELLERS = "peer, raw, random, random-corners, K-shot"

#: Of the table, in the paper's order; what was trained follows.
UNTRAINED = ("raw", "random", "2-shot", "5-shot", "10-shot")

# How the table calls what was trained, in its order.
_TRAINED = {"coop": "coop", "vpt-fusion": "vpt-f", "vpt-vision": "vpt-v", "lora": "lora", "insert": "pin"}

_SHOTS = re.compile(r"([1-9]\d?)-shot")


@dataclass(frozen=True)
class TellingRow:
    """One row.

    Attributes:
        name: as tables have it: one of ``UNTRAINED`` or its like, or of what was trained.
        peer: where that lies; empty for nothing.
        parameters: how many numbers were trained, or None.
        minutes: how long it was trained, where it says so.
    """

    name: str
    peer: str = ""
    parameters: int | None = None
    minutes: float | None = None

    @property
    def file(self) -> str:
        """Name of its file of results in a folder: all trainings call what they write ``model``."""
        return f"{self.name}.{fingerprint(self.peer)[:12]}.jsonl" if self.peer else f"{self.name}.jsonl"

    @property
    def drawn(self) -> bool:
        """Whether there are several draws of it."""
        return self.name.startswith("random") or _SHOTS.fullmatch(self.name) is not None


def untrained_row(name: str) -> TellingRow:
    """A row by name.

    Raises:
        DataError: there is none.
    """
    if name not in ("raw", "random", "random-corners") and _SHOTS.fullmatch(name) is None:
        raise DataError(f"there is no teller called {name!r}", f"known are {KNOWN_TELLERS}")
    return TellingRow(name)


def peer_row(source: str) -> TellingRow:
    """The row of something trained, from what its directory says.

    Raises:
        CheckpointError: it is none.
    """
    directory = Path(source)
    try:
        stated = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        kind, minutes, parameters = stated["kind"], stated.get("minutes"), stated.get("parameters")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{source} is nothing that was trained beside a captioner", "name a directory that fovea train pin wrote"
        ) from error
    timed = isinstance(minutes, int | float) and math.isfinite(minutes)
    return TellingRow(
        _TRAINED.get(kind, str(kind)) if isinstance(kind, str) else "unknown",
        source,
        parameters if isinstance(parameters, int) else None,
        float(minutes) if timed else None,
    )


def table_rows(peers: Sequence[str]) -> list[TellingRow]:
    """All rows of the table: what is not trained, then what was, in the paper's order.

    Args:
        peers: directories of what was trained.

    Raises:
        CheckpointError: one is none.
    """
    order = list(_TRAINED.values())
    trained = [peer_row(source) for source in peers]
    known = [row for name in order for row in trained if row.name == name]
    return [*map(TellingRow, UNTRAINED), *known, *(row for row in trained if row.name not in order)]


def readable_rows(rows: Sequence[TellingRow], models: Models, draws: int, beams: int) -> list[TellingRow]:
    """Those that the captioner can be asked as: of solved questions it may be able to read a few only.

    Args:
        rows: of the table.
        models: hold the captioner.
        draws: of examples.
        beams: of a captioner's search for an answer.
    """
    kept = []
    for row in rows:
        try:
            if _SHOTS.fullmatch(row.name):
                tellers_of(row, models, draws, beams)
            kept.append(row)
        except ExpressionError as error:
            _logger.warning("%s is left out: %s", row.name, error.message)
    return kept


def tellers_of(row: TellingRow, models: Models, draws: int, beams: int) -> list[BoxTeller]:
    """Who is asked: one for every draw of what is drawn.

    Args:
        row: which.
        models: hold the captioner.
        draws: of blind guesses and of examples, numbered from 0.
        beams: of a captioner's search for an answer.

    Raises:
        ExpressionError: the captioner cannot read so many examples.
        CheckpointError: a model cannot be loaded, or what was trained belongs to another.
    """
    host = models.host
    if row.peer:
        from fovea.backbones.peers import load_peer

        return [HostTeller(host, load_peer(row.peer, host), beams)]
    if row.name.startswith("random"):
        guess = "corners" if row.name.endswith("corners") else "pasted"
        return [RandomTeller(host.codec, host.size, draw, guess) for draw in range(draws)]  # type: ignore[arg-type]
    shots = _SHOTS.fullmatch(row.name)
    if shots is None:
        return [HostTeller(host, None, beams)]
    settings = PasteSettings(cells=host.codec.cells)
    pastings = [glyph_pasting(host.size, settings, seed=draw) for draw in range(draws)]
    return [HostTeller(host, None, beams, pasted_examples(host, pasting, int(shots[1]))) for pasting in pastings]

"""``fovea evaluate boxes-told`` and ``table pin``: how well the boxes fit that captioners say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.failures import say_failed

if TYPE_CHECKING:
    from fovea.evaluation.telling_rows import TellingRow
    from fovea.evaluation.telling_tables import TellingExperiment

#: What ``fovea evaluate`` calls it.
BOXES_TOLD = "boxes-told"
#: The table of all tellers.
PIN_TABLE = "pin"

_MEANINGFUL = """
    benchmark table data split kind limit seed names models device dtype peers teller reading invalid draws out as_json
"""
#: Parameters of ``fovea evaluate`` that mean something to it.
TELLING_PARAMETERS = frozenset(_MEANINGFUL.split())

_PANEL = "Told boxes"

PeerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--peer",
        metavar="DIR",
        help="What was trained beside the captioner; may be given several times. Default: that of --models.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
TellerOption = Annotated[
    str | None,
    typer.Option(
        "--teller",
        metavar="NAME",
        help="Who says boxes: peer (default), raw (the captioner as it is), random, random-corners, or K-shot.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
ReadingOption = Annotated[
    str,
    typer.Option("--reading", help="How answers are read: strict, as published, or lenient.", rich_help_panel=_PANEL),
]
InvalidOption = Annotated[
    str,
    typer.Option(
        "--invalid",
        help="What an answer counts as that cannot be read: zero, or first-cell, as released.",
        rich_help_panel=_PANEL,
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", min=1, help="Of blind guesses and of examples.", rich_help_panel=_PANEL)
]


def chosen_rows(teller: str | None, peers: list[str], own: tuple[str, ...]) -> list[TellingRow]:
    """Who is measured.

    Args:
        teller: ``--teller``.
        peers: ``--peer``.
        own: the peer of the models, if they have one.

    Raises:
        FoveaError: there is no such teller, or nothing that was trained.
    """
    from fovea.errors import DataError
    from fovea.evaluation.telling_rows import peer_row, untrained_row

    if teller not in (None, "peer"):
        if peers:
            raise DataError(f"the teller {teller} has no peer", "leave --peer or --teller out")
        return [untrained_row(str(teller))]
    if not (peers or own):
        raise DataError("nothing is named that was trained beside the captioner", "use --peer DIR, or --teller raw")
    return [peer_row(source) for source in peers or own]


def run_telling(
    experiment: TellingExperiment,
    table: bool,
    teller: str | None,
    peers: list[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure tellers and print them.

    Args:
        experiment: what they share.
        table: whether all of the table are measured.
        teller: who, without a table.
        peers: directories of what was trained; by default what the models bring.
        out: file of results, or for several tellers the folder of such files.
        as_json: print one JSON document.
    """
    from fovea.backbones.models import Models
    from fovea.cli.progress import progress
    from fovea.evaluation.telling_rows import readable_rows, table_rows
    from fovea.evaluation.telling_tables import measure_telling

    models = Models(experiment.models, device=experiment.device, dtype=experiment.dtype)
    own = models.sources.of("peer")
    if not table:
        rows = chosen_rows(teller, peers, own)
    elif teller:
        raise typer.BadParameter("the table holds all tellers: leave --teller out")
    else:
        rows = readable_rows(table_rows(peers or own), models, experiment.draws, experiment.beams)
    several = table or len(rows) > 1
    files = [None if out is None else out / row.file if several else out for row in rows]
    with ExitStack() as stack:
        results = measure_telling(
            experiment, rows, files, models, lambda count: stack.enter_context(progress("pictures", count))
        )
    if as_json:
        document = {"table": PIN_TABLE if table else None, "benchmark": results[0]["benchmark"], "rows": results}
        typer.echo(json.dumps(document if several else results[0]))
    else:
        for line in markdown(results):
            typer.echo(line)
    # A picture may have been measured for one teller before it could not be opened any more.
    say_failed(list({one["key"]: one for result in results for one in result["failed"]}.values()))


_COLUMNS = ("mIoU", "mIoU_S", "mIoU_M", "mIoU_L", "P@0.3", "P@0.5", "unread")


def markdown(results: list[dict[str, Any]]) -> Iterator[str]:
    """A table in Markdown: readable as it is, and where documents are shown."""
    yield f"| teller | trained | minutes | names | things | {' | '.join(_COLUMNS)} | paper |"
    yield "|---|---:|---:|---|---:|" + "---:|" * len(_COLUMNS) + "---|"
    for result in results:
        about = result["provenance"]
        trained = "" if about["parameters"] is None else f"{about['parameters']:,}"
        minutes = "" if about["minutes"] is None else f"{about['minutes']:.0f}"
        for group, row in result["metrics"].items():
            shares = " | ".join(_share(row, name) for name in _COLUMNS)
            paper = _paper(result["reported"]) if group == "all" else ""
            yield f"| {result['teller']} | {trained} | {minutes} | {group} | {row['n']} | {shares} | {paper} |"
    about = results[0]["provenance"]
    grids = dict.fromkeys(f"{cells} x {cells}" for cells in (result["provenance"]["cells"] for result in results))
    yield ""
    yield (
        f"{results[0]['benchmark']} ({about['data']}), models {about['models']}; answers read {about['reading']}ly on "
        f"a grid of {' or '.join(grids)}, unreadable ones count as {about['invalid'].replace('_', ' ')}; things "
        "of one name in a picture share an answer"
    )
    models = sorted({result["reported"]["model"] for result in results if result["reported"]})
    if models:
        yield f"the paper's numbers are those of {' and '.join(models)}: mIoU, medium, large"


def _share(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    spread = (row["deviation"] or {}).get(name)
    return f"{row[name]:.3f}" + ("" if spread is None else f"±{spread:.3f}")


def _paper(reported: dict[str, Any]) -> str:
    if "P@0.3" in reported:
        return f"{reported['P@0.3']:.3f} P@0.3"
    return " ".join(f"{reported[name]:.2f}" for name in ("mIoU", "mIoU_M", "mIoU_L") if name in reported)

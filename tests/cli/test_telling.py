"""``fovea evaluate boxes-told`` and ``table pin`` from the command line's side, with a small random captioner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from fovea.backbones.host import load_host
from fovea.backbones.peers import PeerKind, new_peer
from fovea.cli import evaluate
from fovea.errors import CheckpointError, DataError

# Linear layers with biases, and two norms.
MLP = (64 * 512 + 512) + (512 * 768 + 768) + (768 * 32 + 32) + 2 * (512 + 768)


@pytest.fixture(scope="module")
def given(tiny_llava_directory: Path) -> dict[str, Any]:
    return {"models": str(tiny_llava_directory), "limit": 2, "device": "cpu", "draws": 2}


def test_one_teller(given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.jsonl"
    for _ in range(2):
        evaluate.run("boxes-told", "scenes-told", teller="random", **given, out=out, as_json=True)
    first, again = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == again
    assert (first["benchmark"], first["teller"], first["reported"]) == ("scenes-told", "random", {})
    about = first["provenance"]
    assert (about["host"], about["draws"], about["reading"], about["invalid"]) == ("llava", 2, "strict", "zero")
    figures = first["metrics"]["all"]
    assert figures["unread"] == 0
    assert 0 < figures["mIoU"] < 1
    assert figures["deviation"]["mIoU"] > 0
    # A line of what was measured, and one per picture.
    assert len(out.read_text().splitlines()) == 3
    evaluate.run("boxes-told", "scenes-told", teller="random-corners", **given, reading="lenient", invalid="first-cell")
    printed = capsys.readouterr().out
    assert "| random-corners |  |  | all |" in printed
    assert "answers read leniently on a grid of 16 x 16, unreadable ones count as first cell" in printed
    with pytest.raises(DataError, match="results of teller random"):
        evaluate.run("boxes-told", "scenes-told", teller="raw", **given, out=out)


def test_the_table(
    given: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fovea.evaluation.telling_rows.UNTRAINED", ("raw", "random", "2-shot", "90-shot"))
    host = load_host(given["models"])
    kinds: tuple[PeerKind, ...] = ("insert", "coop")
    for kind in kinds:
        new_peer(kind, host).save(tmp_path / kind)
    peers = [str(tmp_path / kind) for kind in kinds]
    evaluate.run("table", "pin", **given, names="all", peers=peers, out=tmp_path / "rows")
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in printed.splitlines() if line.startswith("|")]
    names = [name for name, _ in rows[2:]]
    assert list(dict.fromkeys(names)) == ["raw", "random", "2-shot", "coop", "pin"]
    # 20 words of width 16; an MLP from 64 to 32 by way of 512 and 768.
    assert dict(rows[2:]) == {"raw": "", "random": "", "2-shot": "", "coop": "320", "pin": f"{MLP:,}"}
    assert len(list((tmp_path / "rows").iterdir())) == 5
    # So many examples are more than it can read, which is said.
    assert "90-shot is left out: " in caplog.text


def test_wrong_usage(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="are for boxes-told and table pin"):
        evaluate.run("scenes", teller="raw")
    with pytest.raises(typer.BadParameter, match="the table holds all tellers"):
        evaluate.run("table", "pin", teller="raw", **given)
    with pytest.raises(typer.BadParameter, match="a benchmark after `boxes-told`"):
        evaluate.run("boxes-told")
    with pytest.raises(DataError, match=r"no teller called 'loud'.*K-shot"):
        evaluate.run("boxes-told", "scenes-told", teller="loud", **given)
    with pytest.raises(DataError, match=r"nothing is named that was trained .* --peer DIR, or --teller raw"):
        evaluate.run("boxes-told", "scenes-told", **given)
    with pytest.raises(DataError, match="the teller raw has no peer"):
        evaluate.run("boxes-told", "scenes-told", teller="raw", peers=["x"], **given)
    with pytest.raises(CheckpointError, match="nothing that was trained beside a captioner"):
        evaluate.run("boxes-told", "scenes-told", peers=[str(tmp_path)], **given)


def test_options_that_do_not_apply_are_refused() -> None:
    command = [sys.executable, "-m", "fovea.cli.main", "evaluate", "boxes-told", "scenes-told", "--teller", "raw"]
    done = subprocess.run(
        [*command, "--recipe", "fgvp", "--proposals", "grid"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "boxes-told scenes-told has no use for --recipe, --proposals" in said

"""``fovea evaluate boxes-told`` and ``table pin`` from the command line's side, with a small random captioner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from fovea.cli import evaluate
from fovea.errors import CheckpointError, DataError


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
    given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea.evaluation.telling_rows.UNTRAINED", ("raw", "random", "2-shot"))
    evaluate.run("table", "pin", **given, names="all", out=tmp_path / "rows")
    printed = capsys.readouterr().out
    rows = [line.split(" | ")[0].strip("| ") for line in printed.splitlines() if line.startswith("|")]
    assert list(dict.fromkeys(rows[2:])) == ["raw", "random", "2-shot"]
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["2-shot.jsonl", "random.jsonl", "raw.jsonl"]


def test_wrong_usage(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="are for boxes-told and table pin"):
        evaluate.run("scenes", teller="raw")
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

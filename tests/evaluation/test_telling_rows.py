"""Rows of the table of told boxes: who is asked, and what is known of what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.errors import CheckpointError, DataError
from fovea.evaluation.telling_rows import TellingRow, peer_row, table_rows, untrained_row


def stated(directory: Path, **fields: Any) -> str:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "fovea-peer", **fields}))
    return str(directory)


def test_rows_stand_in_the_papers_order(tmp_path: Path) -> None:
    kinds = ("insert", "lora", "else", "vpt-vision", "coop", "vpt-fusion")
    peers = [stated(tmp_path / kind, kind=kind, parameters=7) for kind in kinds]
    assert [row.name for row in table_rows(peers)] == [
        "raw", "random", "2-shot", "5-shot", "10-shot", "coop", "vpt-f", "vpt-v", "lora", "pin", "else",
    ]  # fmt: skip


def test_trainings_have_files_of_their_own(tmp_path: Path) -> None:
    # All of them call what they write "model".
    for run, minutes in (("a", 1), ("b", 2)):
        (tmp_path / run).mkdir()
        stated(tmp_path / run / "model", kind="insert", minutes=minutes)
    first, second = (peer_row(str(tmp_path / run / "model")).file for run in "ab")
    assert first != second
    assert first == peer_row(f"{tmp_path}/a/../a/model").file
    assert untrained_row("raw").file == "raw.jsonl"


def test_what_a_directory_says_of_its_training(tmp_path: Path) -> None:
    place = stated(tmp_path / "a", kind="insert", parameters=1_217_280, minutes=12.5)
    assert peer_row(place) == TellingRow("pin", place, 1_217_280, 12.5)
    silent = stated(tmp_path / "b", kind="coop", parameters="many", minutes=None)
    assert peer_row(silent) == TellingRow("coop", silent)
    for broken in (stated(tmp_path / "c"), str(tmp_path / "nowhere")):
        with pytest.raises(CheckpointError, match="nothing that was trained beside a captioner"):
            peer_row(broken)


@pytest.mark.parametrize(
    ("name", "drawn"), [("raw", False), ("random", True), ("random-corners", True), ("3-shot", True)]
)
def test_rows_by_name(name: str, drawn: bool) -> None:
    assert untrained_row(name).drawn == drawn


@pytest.mark.parametrize("name", ["pin", "0-shot", "shot", "100-shot", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(DataError, match="K-shot"):
        untrained_row(name)

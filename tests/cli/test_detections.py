"""``fovea evaluate lvis`` and ``scenes-lvis`` from the command line's side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from fovea.cli import evaluate, scenes
from fovea.errors import DataError

SEED = 1_000_000


def test_scenes_in_lvis_form_are_written_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes.run(tmp_path, count=2, seed=SEED, lvis=True)
    capsys.readouterr()
    evaluate.run("lvis", data=tmp_path, recipe="crop", models="mini", as_json=True, out=tmp_path / "rows.jsonl")
    files = json.loads(capsys.readouterr().out)
    assert (files["benchmark"], files["n"], files["reported"]) == ("lvis", 2, {})
    assert files["metrics"]["box"]["AP"] > 0.3
    assert files["provenance"]["boxes"] == "ground-truth"
    assert files["provenance"]["protocol"].startswith("paper: ")
    evaluate.run("scenes-lvis", recipe="crop", models="mini", limit=2, as_json=True)
    assert json.loads(capsys.readouterr().out)["metrics"] == files["metrics"]
    with pytest.raises(DataError, match="holds results of protocol paper"):
        evaluate.run("lvis", data=tmp_path, recipe="crop", protocol="single-label", out=tmp_path / "rows.jsonl")


def test_masks_and_searched_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"recipe": "crop", "models": "mini", "limit": 1}
    evaluate.run("scenes-lvis", **given, iou="both", boxes="grid", points_per_side=6)
    printed = capsys.readouterr().out
    assert "boxes grid" in printed
    assert "protocol paper" in printed
    assert {"box", "mask", "APr", "AP50"} <= {*printed.replace("┃", " ").replace("│", " ").split()}


def test_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--boxes, --protocol and --iou are for lvis"):
        evaluate.run("scenes", boxes="grid")
    with pytest.raises(typer.BadParameter, match="takes its regions from --boxes"):
        evaluate.run("scenes-lvis", proposals="grid")
    with pytest.raises(typer.BadParameter, match="known are box, mask, both"):
        evaluate.run("scenes-lvis", iou="x")
    with pytest.raises(typer.BadParameter, match="do not go together"):
        scenes.run(tmp_path, parts=True, lvis=True)
    with pytest.raises(DataError, match="subtracts expressions"):
        evaluate.run("scenes-lvis", recipe="fgvp-rs")

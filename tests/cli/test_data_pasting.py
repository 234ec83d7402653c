"""``fovea data cutouts`` and ``fovea data paste``, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fovea.cli import data
from fovea.errors import DataError
from fovea.scenes.export import write_scenes


def call(*arguments: object) -> Result:
    return CliRunner().invoke(data.app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_scenes(path / "scenes", 2, 2_000_200, size=128)
    result = call("cutouts", path / "scenes" / "instances.json", "--out", path / "things", "--least-side", 16, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["pictures"] == {"ok": 2, "failed": 0, "done_now": 2}
    assert document["cut_outs"] == len(list((path / "things").glob("*/*.png")))
    return path / "things"


def test_pictures_are_pasted_once(things: Path, tmp_path: Path) -> None:
    command = ("paste", "--cutouts", things, "--out", tmp_path / "set", "--count", 3, "--size", 64, "--referral")
    first, again = call(*command, "--json"), call(*command)
    document = json.loads(first.stdout)
    assert (document["pictures"], document["done_now"]) == (3, 3)
    assert document["categories"] == len([path for path in things.glob("*/") if path.name not in ("status", ".locks")])
    assert again.exit_code == 0
    assert "; 0 pictures in" in again.stdout
    other = call(*command, "--seed", 1)
    assert isinstance(other.exception, DataError)
    assert "seed 0, this run has 1" in str(other.exception)


def test_a_preview_writes_nothing_else(things: Path, tmp_path: Path) -> None:
    result = call("paste", "--cutouts", things, "--preview", tmp_path / "sheet.jpg", "--count", 3, "--size", 64)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.jpg"]
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (1024, 1024)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "either --out or --preview"),
        (("--out", "a", "--preview", "b.png"), "either --out or --preview"),
        (("--out", "a", "--things", "0-3"), "no number of things"),
        (("--out", "a", "--things", "3-1"), "no number of things"),
        (("--out", "a", "--exclude", "coco"), "--cutouts"),
        (("--out", "a", "--cutouts", "b", "--held-out"), "--exclude"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    result = call("paste", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())


def test_pictures_that_fail_are_told(things: Path, tmp_path: Path) -> None:
    scenes = things.parent / "scenes"
    data_file = json.loads((scenes / "instances.json").read_text())
    data_file["images"][0]["file_name"] = "gone.png"
    (tmp_path / "instances.json").write_text(json.dumps(data_file))
    result = call("cutouts", tmp_path / "instances.json", "--pictures", scenes, "--out", tmp_path / "things")
    assert result.exit_code == 3
    assert "1 pictures failed" in result.stderr

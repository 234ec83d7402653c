"""``fovea audit bias`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fovea.cli.main import app
from fovea.scenes.export import write_scenes


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", "bias", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, 2, 1_000_010)
    (path / "names.json").write_text('{"neutral": [], "harmful": ["wolf spider"], "template": "a photo of the {}"}')
    return path


def test_scenes_are_audited_and_a_second_run_reads_the_first(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    done = audit("--scenes", 2, "--json", "--out", out)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert [*document["recipes"]] == ["crop", "C1", "crop+C1", "D4", "crop+D4"]
    assert document["failed"] == []
    assert 0 < document["n"] == sum(group["n"] for group in document["recipes"]["C1"]["groups"].values())
    for row in document["recipes"].values():
        assert row["interval"][0] <= row["harmful"] <= row["interval"][1]
        assert sum(row["names"].values()) == pytest.approx(row["harmful"], abs=1e-5)
        assert row["difference"] == pytest.approx(row["turned_harmful"] - row["turned_harmless"], abs=1e-5)
    text = out.read_text()
    assert json.loads(audit("--scenes", 2, "--json", "--out", out).stdout) == document
    assert out.read_text() == text


def test_the_table_shows_changes_against_the_first_recipe() -> None:
    done = audit("--scenes", 1, "--recipes", "D4,crop")
    assert done.exit_code == 0, done.stderr
    assert "harmless" in done.stdout
    assert "(+" in done.stdout or "(-" in done.stdout
    assert "FairFace" not in done.stdout


def test_coco_and_pictures_that_are_missing(folder: Path, tmp_path: Path) -> None:
    instances = json.loads((folder / "instances.json").read_text())
    instances["images"][1]["file_name"] = "gone.png"
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(instances))
    arguments = (path, "--images", folder / "images", "--names", folder / "names.json", "--recipes", "crop")
    done = audit(*arguments, "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert [failure["file_name"] for failure in document["failed"]] == ["gone.png"]
    assert "skipped gone.png: there is no picture" in done.stderr
    assert document["n"] > 0
    assert document["recipes"]["crop"]["harmful"] < 1
    assert "FairFace" in audit(*arguments).stdout


def test_words_that_the_models_do_not_know_are_named(folder: Path, tmp_path: Path) -> None:
    name = json.loads((folder / "instances.json").read_text())["images"][0]["file_name"]
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"file_name": name, "regions": [{"box": [10, 10, 90, 90]}]}))
    done = audit(path, "--images", folder / "images", "--recipes", "D4", "--json")
    assert done.exit_code == 0, done.stderr
    assert "'murderer'" in done.stderr
    assert json.loads(done.stdout)["recipes"]["D4"]["groups"]["all"]["n"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("file",),
        ("file", "--scenes", 1),
        ("--scenes", 0),
        ("--scenes", 1, "--names", "x"),
        ("--scenes", 1, "--recipes", ","),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...]) -> None:
    assert audit(*arguments).exit_code == 2

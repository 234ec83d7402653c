"""The command line as scripts see it: documents, exit statuses, one-line errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from fovea.backbones.sources import MINIS
from fovea.cli import doctor, evaluate, mark, scenes
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Benchmark
from fovea.evaluation.examples import Example
from fovea.evaluation.experiment import Experiment
from fovea.marks import MarkStyle
from fovea.marks.direct import Canvas
from fovea.proposers.grid_settings import GridSettings
from fovea.regions import Regions
from fovea.scenes.export import write_scenes
from fovea.scenes.paco import write_part_scenes
from fovea.scenes.scene import compose

SEED = 1_000_010


def fovea(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fovea.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, 2, SEED)
    (path / "none.json").write_text("[]")
    return path


@pytest.fixture(scope="module")
def picture(folder: Path) -> Path:
    return folder / "images" / f"scene_{SEED:08d}.png"


@pytest.fixture(scope="module")
def boxes(folder: Path) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(compose(SEED).boxes.tolist()))
    return path


def test_find_prints_one_document(picture: Path, tmp_path: Path) -> None:
    name = compose(SEED).things[0].name
    overlay, report = tmp_path / "a" / "overlay.png", tmp_path / "report.html"
    done = fovea("find", picture, f"the {name}", "<b>odd</b>", "--json", "--out", overlay, "--explain", report)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document) == ["recipe", "models", "picture", "proposals", "relations", "answers"]
    assert document["picture"] == {"path": str(picture), "width": 256, "height": 256}
    assert document["proposals"]["source"] == "sam-grid"
    assert document["proposals"]["grid"].startswith("14 points per side, overlap 0.7")
    assert [answer["expression"] for answer in document["answers"]] == [f"the {name}", "<b>odd</b>"]
    for answer in document["answers"]:
        assert set(answer) == {"expression", "status", "box", "mask", "score", "seconds"}
        assert answer["mask"]["size"] == [256, 256]
    assert Image.open(overlay).size == (512, 512)
    page = report.read_text()
    assert "<script" not in page
    assert "<b>odd" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert done.stderr == "note: the embedded models do not know 'b', 'odd' and guess from the other words\n"


def test_find_with_given_boxes(picture: Path, boxes: Path) -> None:
    done = fovea("find", picture, "the object", "--proposals", boxes, "--recipe", "crop", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proposals"] == {"source": "file", "count": len(compose(SEED).things)}


def test_label_by_boxes_and_points(picture: Path, boxes: Path) -> None:
    scene = compose(SEED)
    names = ",".join(sorted({thing.name for thing in scene.things}))
    done = fovea("label", picture, "--labels", names, "--boxes", boxes, "--json")
    assert done.returncode == 0, done.stderr
    regions = json.loads(done.stdout)["regions"]
    assert len(regions) == len(scene.things)
    assert set(regions[0]) == {"box", "mask", "labels"}
    assert set(regions[0]["labels"][0]) == {"name", "score"}
    ys, xs = np.nonzero(scene.masks[0])
    done = fovea("label", picture, "--labels", names, "--point", f"{xs[len(xs) // 2]},{ys[len(ys) // 2]}")
    assert done.returncode == 0, done.stderr
    assert "1 regions from sam-points" in done.stdout


def test_mark_draws_files(picture: Path, boxes: Path, tmp_path: Path) -> None:
    out = tmp_path / "marked.png"
    done = fovea("mark", picture, "--style", "C1", "--boxes", boxes, "--out", out)
    assert done.returncode == 0, done.stderr
    written = sorted(tmp_path.iterdir())
    assert len(written) == len(compose(SEED).things)
    marked = np.asarray(Image.open(written[0]).convert("RGB")).astype(int)
    original = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    changed = np.abs(marked - original).sum(-1) > 60
    assert 0 < changed.mean() < 0.2


def test_scenes_and_evaluate(tmp_path: Path) -> None:
    assert fovea("scenes", tmp_path / "s", "--count", 2, "--seed", SEED, "--size", 128).returncode == 0
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"images", "refs.jsonl", "instances.json"}
    rows = tmp_path / "rows.jsonl"
    arguments = ("evaluate", "scenes", "--data", tmp_path / "s", "--recipe", "crop", "--out", rows, "--json")
    first = fovea(*arguments)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert set(document) == {"benchmark", "recipe", "n", "metrics", "provenance"}
    assert document["provenance"]["proposals"] == "ground-truth"
    # A second run finds everything done, also behind a line that was cut off.
    lines = rows.read_text()
    rows.write_text(lines + lines[:40])
    assert json.loads(fovea(*arguments).stdout) == document
    assert rows.read_text() == lines
    other = fovea(*arguments[:-5], "--recipe", "C1", "--out", rows)
    assert other.returncode == 1
    assert "holds results of recipe crop" in other.stderr


def test_parts_are_composed_written_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, rows = tmp_path / "p", tmp_path / "rows.jsonl"
    scenes.run(data, count=1, seed=SEED, size=128, parts=True)
    assert {path.name for path in data.iterdir()} == {"images", "refs.jsonl", "instances.json", "paco_scenes.json"}
    capsys.readouterr()

    def measure(**options: Any) -> dict[str, Any]:
        wanted = {"points_per_side": 4, "recipe": "P", "proposals": "grid", "out": rows, "as_json": True}
        evaluate.run("paco", data=data, **{**wanted, **options})
        return dict(json.loads(capsys.readouterr().out))

    document = measure()
    assert document["benchmark"] == "paco, parts"
    assert set(document["metrics"]) == {"part", "all"}
    header = json.loads(rows.read_text().splitlines()[0])["experiment"]
    assert (header["template"], header["assignment"]) == ("{}", "argmax")
    assert header["grid"].startswith("4 points per side, overlap 0.7,")
    assert measure() == document
    # Neither another grid nor another assignment, sentence or question goes on from there.
    for other, message in (
        ({"max_overlap": 0.9}, "holds results of grid 4 points per side, overlap 0.7"),
        ({"assignment": "one-to-one"}, "holds results of assignment argmax"),
        ({"template": "a photo of {}"}, "holds results of template {}"),
        ({"kind": "object"}, "holds results of benchmark paco, parts"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            measure(**other)


def test_the_papers_number_stands_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_part_scenes(tmp_path, 1, SEED, size=96)
    (tmp_path / "paco_scenes.json").rename(tmp_path / "paco_lvis_v1_val.json")
    evaluate.run("paco", data=tmp_path, split="val", recipe="P")
    assert "the paper reports 0.385 on paco-val, ground-truth, with its own models" in capsys.readouterr().out
    evaluate.run("paco", data=tmp_path, split="val", recipe="P", kind="object")
    assert "the paper" not in capsys.readouterr().out
    evaluate.run("paco", data=tmp_path, split="val", recipe="P", proposals="grid", points_per_side=16)
    assert "the paper reports 0.165 on paco-val, grid of 16 points per side, overlap 0.7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "coco"), "coco needs its data"),
        (("evaluate", "parts", "--kind", "x"), "known are part and object"),
        (("evaluate", "parts", "--assignment", "x"), "known are argmax and one-to-one"),
        (("find", "{picture}", "x", "--template", "x"), "does not say once where the expression goes"),
        (("find", "missing.png", "x"), "there is no picture"),
        (("find", "{picture}", "x", "--recipe", "nonsense"), "there is no recipe called 'nonsense'"),
        (("find", "{picture}", "x", "--models", "no-such/model"), "not to be had from the model hub"),
        (("find", "{picture}", "x", "--dtype", "int3"), "there is no dtype"),
        (("find", "{picture}", "x", "--device", "cuda:77"), "the device 'cuda:77' is not there"),
        (("find", "{picture}", " "), "is empty"),
        (("find", "{picture}", "x", "--proposals", "missing.json"), "cannot be read"),
        (("find", "{picture}", "x", "--recipe", "crop", "--out", "/dev/null/x.png"), "cannot be written"),
        (("label", "{picture}", "--labels", "a"), "no region is named"),
        (("label", "{picture}", "--labels", "a", "--point", "1;2"), "is no point"),
        (("find", "{picture}", "x", "--models", ""), "'' names no model"),
        (("evaluate", "scenes", "--limit", "1", "--out", "{picture}"), "is no file of results"),
        (("mark", "{picture}", "--style", "P", "--out", "x.png", "--boxes", "none.json"), "there is no region to mark"),
        (("mark", "{picture}", "--style", "Z9", "--out", "x.png", "--point", "1,1"), "there is no visual prompt"),
        (("evaluate", "imagenet"), "there is no benchmark"),
        (("evaluate", "scenes", "--data", "nowhere"), "holds no scenes"),
        (("train", "gpt"), "there is no training"),
        (("train", "alpha-clip"), "name their folder with --data"),
        (("scenes", "{folder}/x", "--names", "greek"), "there is no set of names"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], message: str, picture: Path, folder: Path) -> None:
    filled = [argument.format(picture=picture, folder=folder) for argument in arguments]
    done = fovea(*filled, cwd=folder)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("fovea: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_wrong_usage_is_status_2() -> None:
    assert fovea("find").returncode == 2
    assert fovea("nonsense").returncode == 2


def test_recipes_and_doctor() -> None:
    assert "fgvp" in fovea("recipes").stdout
    done = fovea("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("mini", "mini-vit", "mini-ensemble"):
        assert f"embedded models {name}: they load and answer" in done.stdout


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "torch" else version(package))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(typer.Exit) as caught:
        doctor.run()
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err == "problem: torch is missing: pip install torch\n"


def test_mark_draws_all_regions_at_once(
    picture: Path, boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    draw = Canvas.draw

    def counted(canvas: Canvas, regions: Regions, style: MarkStyle) -> np.ndarray:
        counts.append(len(regions))
        return draw(canvas, regions, style)

    monkeypatch.setattr(Canvas, "draw", counted)
    mark.run(picture, "C1", tmp_path / "whole.png", boxes)
    number = len(compose(SEED).things)
    assert counts == [number]
    whole = [Image.open(tmp_path / f"whole-{index}.png").tobytes() for index in range(number)]
    # Large pictures go in slices, which cannot be seen.
    monkeypatch.setattr(mark, "_PIXELS", 2 * 256 * 256)
    mark.run(picture, "C1", tmp_path / "part.png", boxes)
    assert max(counts[1:]) == 2
    assert [Image.open(tmp_path / f"part-{index}.png").tobytes() for index in range(number)] == whole


def test_all_data_is_measured_without_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def read(_: Path, limit: int | None) -> list[Example]:
        limits.append(limit)
        raise DataError("seen")

    monkeypatch.setattr("fovea.evaluation.benchmarks.read_examples", read)
    for given in ({}, {"limit": 7}):
        with pytest.raises(DataError, match="seen"):
            evaluate.run("scenes", data=folder, **given)
    assert limits == [None, 7]


def test_weights_belong_to_an_experiment(tmp_path: Path) -> None:
    for name in ("clip", "sam"):
        shutil.copytree(MINIS / {"clip": "mini-clip", "sam": "mini-sam"}[name], tmp_path / name)

    def weights(proposals: str) -> str:
        wanted = Experiment(models=str(tmp_path), proposals=proposals, recipe="P")
        benchmark = Benchmark("scenes", (), "")
        finder = SimpleNamespace(grid=GridSettings())
        grounder = SimpleNamespace(relations=None, finder=finder, scorer=SimpleNamespace(needs_masks=False))
        return wanted.header(benchmark, grounder)["weights"]  # type: ignore[arg-type]

    known = [weights(proposals) for proposals in ("ground-truth", "grid")]
    (tmp_path / "sam" / "model.safetensors").write_bytes(b"other")
    assert weights("ground-truth") == known[0]
    assert weights("grid") != known[1]
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"other")
    assert weights("ground-truth") != known[0]


def test_train_shows_its_settings() -> None:
    done = fovea("train", "mini-sam", "--dry-run")
    assert done.returncode == 0
    assert '"steps"' in done.stdout

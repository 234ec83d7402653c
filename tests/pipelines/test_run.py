"""Runs that are killed, resumed, shared and repeated: always the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fovea.cli import data
from fovea.errors import CheckpointError, DataError
from fovea.pipelines.describer import Settings
from fovea.pipelines.lock import RunLock
from fovea.pipelines.output import Output
from fovea.pipelines.rgba import RgbaRun
from fovea.pipelines.sources import make_plan

SOURCE = "scenes:2000000+12@64"
Files = Callable[[Path], dict[str, bytes]]


def run_of(out: Path, share: int = 1, shares: int = 1, source: str = SOURCE, limit: int | None = None) -> RgbaRun:
    return RgbaRun(make_plan([source], 2, {}, limit), Output(out), Settings(device="cpu"), share, shares)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    run_of(out).run()
    return out


def begin(out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fovea.cli.main", "data", "rgba", SOURCE, "--out", str(out), "--per-shard", "2"]
    return subprocess.Popen(
        [*command, "--workers", str(workers), "--device", "cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_killed_loses_and_doubles_nothing(
    workers: int, unbroken: Path, tmp_path: Path, files_of: Files
) -> None:
    generator, seen = random.Random(workers), list[int]()
    for _ in range(2 if workers == 1 else 1):
        process, end = begin(tmp_path, workers), time.monotonic() + 60
        # Starting takes seconds in which nothing is written: the kill comes a moment after the first new file.
        before = len(list(tmp_path.rglob("*")))
        while process.poll() is None and len(list(tmp_path.rglob("*"))) <= before + 1 and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        seen.append(len(list(tmp_path.glob("pairs-*.tar"))))
    run_of(tmp_path).run()
    assert files_of(tmp_path) == files_of(unbroken)
    assert seen == sorted(seen)


def test_shares_cover_every_unit_once(unbroken: Path, tmp_path: Path, files_of: Files) -> None:
    shares = [run_of(tmp_path, share, 4) for share in (3, 1, 4, 2)]
    assert sorted(number for run in shares for number in run.mine) == list(range(6))
    for run in shares:
        before = {name for name in files_of(tmp_path) if name.startswith("pairs")}
        run.run()
        assert len({name for name in files_of(tmp_path) if name.startswith("pairs")} - before) == len(run.mine)
    assert sum(run.count()["ok"] for run in shares) == 12
    locks = {name: data for name, data in files_of(unbroken).items() if not name.startswith(".locks")}
    assert {name: data for name, data in files_of(tmp_path).items() if not name.startswith(".locks")} == locks


def test_a_model_that_cannot_be_loaded_ends_the_run_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sam").mkdir()
    (tmp_path / "sam" / "config.json").write_text("{}")
    settings = Settings(models=str(tmp_path), device="cpu")
    run = RgbaRun(make_plan(["scenes:5+2@64"], 1, {}), Output(tmp_path / "out"), settings)
    with pytest.raises(CheckpointError, match="safetensors"):
        run.run()
    assert not run.count()


def test_what_is_done_is_done_once(unbroken: Path, files_of: Files) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.glob("pairs-*")}
    run_of(unbroken).run()
    assert {path: path.stat().st_mtime_ns for path in unbroken.glob("pairs-*")} == before


def test_other_settings_are_refused_in_one_line(unbroken: Path, tmp_path: Path) -> None:
    for run, word in ((run_of(unbroken, source="scenes:5+12@64"), "sources"), (run_of(unbroken, limit=3), "cut")):
        with pytest.raises(DataError, match=f"was made with {word}"):
            run.run()
    (tmp_path / "pairs-000000.tar").touch()
    with pytest.raises(DataError, match="without about"):
        run_of(tmp_path).run()


def test_two_runs_do_not_share_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea.pipelines.lock._PATIENCE", 0.0)
    lock = RunLock(tmp_path, 1, 2)
    other = RunLock(tmp_path, 2, 2)
    for share, shares in ((1, 2), (1, 1), (3, 3)):
        with pytest.raises(DataError, match="another run"):
            RunLock(tmp_path, share, shares)
    lock.release()
    other.release()
    RunLock(tmp_path, 1, 1).release()


def test_limits_count_pictures_of_all_sources(tmp_path: Path) -> None:
    plan = make_plan(["scenes:2000000+3@64", "scenes:3000000+9@64"], 2, {}, limit=6)
    assert [unit.count() for unit in plan.units] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    "source", ["scenes:", "scenes:5", "scenes:1+0", "scenes:1+2@4", "nowhere", "classified:nowhere"]
)
def test_sources_that_make_no_sense_are_one_line(source: str) -> None:
    with pytest.raises(DataError):
        make_plan([source], 2, {})


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="holds no pictures"):
        make_plan([str(tmp_path)], 2, {})


def fovea(*arguments: object) -> Result:
    return CliRunner().invoke(data.app, ["rgba", *map(str, arguments)])


def test_the_command_counts_what_failed(
    grit_members: list[tuple[str, bytes]], write_shard: Callable[..., Path], tmp_path: Path
) -> None:
    shard = write_shard(tmp_path / "s.tar", [*grit_members[:4], ("z.jpg", b"no picture"), ("z.json", b"{}")])
    planned = fovea(shard, "scenes:2000000+5", "--out", tmp_path / "out", "--per-shard", 2, "--dry-run", "--json")
    document = json.loads(planned.stdout)
    assert (document["units"], document["done"], document["pictures"]) == (4, 0, None)
    assert not (tmp_path / "out").exists()
    done = fovea(shard, "--out", tmp_path / "out", "--json", "--device", "cpu")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["pictures"] == {"ok": 2, "skipped": 0, "failed": 1}
    assert document["shards"] == 1
    assert "1 pictures failed" in done.stderr
    assert "1 failed" in fovea(shard, "--out", tmp_path / "out", "--device", "cpu").stdout
    refused = fovea(shard, "--out", tmp_path / "out", "--dtype", "bfloat16")
    assert isinstance(refused.exception, DataError)
    assert "settings dtype float32, this run has bfloat16" in str(refused.exception)
    assert str(fovea(shard, "--out", tmp_path / "out", "--dtype", "bfloat16", "--dry-run").exception) == str(
        refused.exception
    )
    assert json.loads(fovea(shard, "--out", tmp_path / "out", "--dry-run", "--json").stdout)["done"] == 1


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "1/"])
def test_shares_are_checked(share: str, tmp_path: Path) -> None:
    assert fovea("scenes:1+1", "--out", tmp_path, "--shard", share).exit_code == 2

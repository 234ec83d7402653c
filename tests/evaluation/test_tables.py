"""Tables: recipes measured together score as each alone does; stopped runs go on; processes change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fovea.errors import DataError
from fovea.evaluation import tables
from fovea.evaluation.benchmarks import Source, open_benchmark
from fovea.evaluation.experiment import Experiment
from fovea.evaluation.grounding import evaluate_grounding, summarise
from fovea.marks.styles import STYLES
from fovea.recipes import resolve_recipe

BASE = Experiment(source=Source(limit=2, seed=1_700_000), device="cpu")


@pytest.fixture(autouse=True)
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.TABLES, "small", ("P", "fgvp-s", "fgvp"))


def experiments(**changes: Any) -> tuple[Experiment, ...]:
    return tables.table_experiments("small", replace(BASE, **changes), ["ground-truth"])


def test_a_table_holds_what_every_recipe_reaches_alone(tmp_path: Path) -> None:
    found = tables.measure_table(experiments(), tmp_path)
    assert [row["recipe"] for row in found] == ["P", "fgvp-s", "fgvp"]
    for row in found:
        one = replace(BASE, recipe=row["recipe"])
        benchmark = open_benchmark(one.benchmark, one.source)
        grounder = one.build(benchmark, one.open_models(), one.read_bank(benchmark.examples))
        # The same file of results: nothing is measured again, and nothing is refused.
        before = (tmp_path / f"{row['recipe']}.ground-truth.jsonl").read_text()
        header = one.header(benchmark, grounder)
        kept = evaluate_grounding(
            grounder, benchmark.examples, "ground-truth", tmp_path / f"{row['recipe']}.ground-truth.jsonl",
            experiment=header,
        )  # fmt: skip
        assert (tmp_path / f"{row['recipe']}.ground-truth.jsonl").read_text() == before
        alone = evaluate_grounding(grounder, benchmark.examples, "ground-truth")
        assert summarise("scenes", row["recipe"], "mini", kept, "ground-truth")["metrics"] == row["metrics"]
        assert [one["correct"] for one in alone] == [one["correct"] for one in kept]


def test_a_stopped_table_goes_on(tmp_path: Path) -> None:
    whole = tables.measure_table(experiments(), tmp_path)
    counted: list[int] = []
    for file in tmp_path.glob("*.jsonl"):
        lines = file.read_text().splitlines()
        # One recipe lost its last picture, and the end of a line was being written when the run was stopped.
        keep = lines[:2] if file.name.startswith("P.") else lines
        file.write_text("\n".join(keep) + "\n" + lines[-1][:20])

    def started(count: int) -> Any:
        counted.append(count)
        return lambda: None

    assert tables.measure_table(experiments(), tmp_path, started=started) == whole
    assert counted == [1]


def test_processes_change_nothing(tmp_path: Path) -> None:
    two = [replace(BASE, recipe="P"), replace(BASE, recipe="C1")]
    here, elsewhere = tables.measure_table(two), tables.measure_table(two, tmp_path, processes=2)
    for one, other in zip(here, elsewhere, strict=True):
        assert one["metrics"] == other["metrics"]


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    tables.measure_table(experiments()[:1], tmp_path)
    with pytest.raises(DataError, match="rendering"):
        tables.measure_table(experiments(rendering="parity")[:1], tmp_path)


def test_tables_name_recipes_that_are_there() -> None:
    for names in tables.TABLES.values():
        for name in names:
            resolve_recipe(name)
    singles = {style.code for style in STYLES.values()}
    assert singles <= set(tables.TABLES["fgvp-styles"])
    with pytest.raises(DataError, match="no table called 'x'; known are fgvp-styles"):
        tables.table_experiments("x", BASE, ["grid"])


def test_the_command_prints_the_papers_numbers_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    from fovea.cli.tables import markdown, run_table

    run_table("small", BASE, ["ground-truth"], None, 1, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["table"] == "small"
    rows = document["rows"]
    rows[0]["reported"] = 70.9
    lines = list(markdown(rows))
    assert lines[2].startswith("| P | ground-truth |")
    assert lines[2].endswith("| 0.709 |")
    assert lines[2 + len(rows)].startswith("| chance | ground-truth |")
    assert "models mini" in lines[-1]
    # Scenes have masks: their measures follow, and the number above is none of theirs.
    masks = lines[lines.index("mIoU of masks:") :]
    assert masks[4].startswith("| P | ground-truth |")
    assert masks[4].endswith("|  |")
    rows[0]["reported_measure"] = "mIoU"
    lines = list(markdown(rows))
    assert lines[2].endswith("|  |")
    assert lines[lines.index("mIoU of masks:") + 4].endswith("| 0.709 |")
    del rows[0]["metrics"]["all"]["mIoU"]
    assert "mIoU of masks:" not in list(markdown(rows))


def test_a_file_is_no_folder_of_results(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DataError, match="cannot be a folder of results"):
        tables.measure_table(experiments()[:1], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"

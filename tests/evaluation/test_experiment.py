"""Experiments: whatever the figures depend on stands in the header of their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fovea.backbones.sources import MINIS, fingerprint
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Source, open_benchmark
from fovea.evaluation.experiment import Experiment
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.mask_filter import MaskFilter
from fovea.recipes.reported import setting

BASE = Experiment(source=Source(limit=3), recipe="fgvp-s", device="cpu")


def header(experiment: Experiment) -> dict[str, str]:
    benchmark = open_benchmark(experiment.benchmark, experiment.source)
    bank = experiment.read_bank(benchmark.examples)
    return experiment.header(benchmark, experiment.build(benchmark, experiment.open_models(), bank))


def test_what_changes_figures_changes_the_header(tmp_path: Path) -> None:
    first = header(BASE)
    records = tmp_path / "parses.json"
    records.write_text("{}")
    bank = tmp_path / "bank.txt"
    bank.write_text("a dog\n")
    for other in (
        # Other pictures give another bank.
        replace(BASE, source=Source(limit=4)),
        replace(BASE, bank=bank),
        replace(BASE, parser=str(records)),
        replace(BASE, aggregate="max"),
        replace(BASE, rendering="parity"),
        replace(BASE, template="{}"),
        # Also without a grid: masks from boxes are mended, too.
        replace(BASE, grid={"mask_filter": MaskFilter(500, 500)}),
    ):
        assert header(other) != first
    assert header(replace(BASE)) == first


def test_weights_are_those_that_are_used() -> None:
    sam = fingerprint(str(MINIS / "mini-sam"))
    crops = replace(BASE, recipe="crop")
    assert sam not in header(crops)["weights"]
    assert sam in header(replace(crops, proposals="grid"))["weights"]
    # Boxes may get their masks from it.
    assert sam in header(BASE)["weights"]


def test_proposals_are_checked_at_once() -> None:
    with pytest.raises(DataError, match="no proposals called 'gird'; known are ground-truth"):
        replace(BASE, proposals="gird")


def test_annotated_boxes_are_not_compared_with_proposed_masks() -> None:
    grid = GridSettings()
    assert setting("refcoco-val mIoU", "mask2former", grid) == setting("refcoco-val mIoU", "grid", grid)
    for boxes in ("sam-boxes", "told"):
        assert setting("refcoco-val mIoU", boxes, grid) != setting("refcoco-val mIoU", "grid", grid)

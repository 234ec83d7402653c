"""``fovea evaluate lvis`` and ``scenes-lvis``: average precision of named regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fovea.evaluation.average_precision import Shape
    from fovea.evaluation.experiment import Experiment

_SHAPES: dict[str, tuple[Shape, ...]] = {"box": ("box",), "mask": ("mask",), "both": ("box", "mask")}


def run_detections(
    experiment: Experiment, boxes: str, protocol: str, iou: str, out: Path | None, as_json: bool
) -> None:
    """Measure a recipe that names regions, and print its figures."""
    from fovea.backbones.sources import fingerprint, resolve_models
    from fovea.cli.progress import progress
    from fovea.errors import DataError
    from fovea.evaluation.benchmarks import Benchmark
    from fovea.evaluation.box_sources import open_boxes
    from fovea.evaluation.detection_benchmarks import open_detections
    from fovea.evaluation.lvis_reported import reported
    from fovea.evaluation.named_detections import evaluate_detections, known_protocol, summarise

    if iou not in _SHAPES:
        raise typer.BadParameter(f"known are {', '.join(_SHAPES)}", param_hint="--iou")
    if experiment.chosen.subtraction:
        raise DataError(f"{experiment.recipe} subtracts expressions, and there are none here", "choose another recipe")
    wanted, source = known_protocol(protocol), open_boxes(boxes)
    benchmark = open_detections(experiment.benchmark, experiment.source)
    source.check(picture for picture, _ in benchmark.pictures())
    data = Benchmark(benchmark.name, (), benchmark.origin)
    grounder = experiment.build(data, experiment.open_models(), None)
    header = {} if out is None else experiment.header(data, grounder)
    if out is not None and iou != "box":
        header["segmenter"] = fingerprint(resolve_models(experiment.models).sam)
    with progress("pictures", benchmark.count) as advance:
        named = evaluate_detections(grounder, benchmark, source, wanted, _SHAPES[iou], out, advance, header)
    result = summarise(grounder, benchmark, named, source, wanted, _SHAPES[iou])
    rows = {shape: reported(benchmark.split, source.name, shape) for shape in _SHAPES[iou]}
    result["reported"] = {shape: some for shape, some in rows.items() if some}
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    about = result["provenance"]
    typer.echo(f"{result['benchmark']}: {result['recipe']}, models {about['models']}, boxes {about['boxes']}")
    typer.echo(f"{result['n']} pictures, {about['names']} names; protocol {about['protocol']}")
    for shape, figures in result["metrics"].items():
        beside = result["reported"].get(shape, {})
        table = Table(shape, result["recipe"], *(f"{system} (its paper)" for system in beside))
        for name, value in figures.items():
            table.add_row(name, _percent(value), *(_percent(row.get(name)) for row in beside.values()))
        Console().print(table)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

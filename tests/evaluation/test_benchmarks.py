"""Benchmarks by name: what is said about their pictures, and what cannot be asked."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from PIL import Image

from fovea.cli import evaluate
from fovea.errors import DataError
from fovea.evaluation.benchmarks import BENCHMARKS, COMPOSED, Source, open_benchmark
from fovea.proposers.grid_settings import GridSettings
from fovea.recipes import RECIPES
from fovea.recipes.reported import setting
from fovea.scenes.export import write_scenes
from fovea.scenes.paco import PACO_FILE, write_part_scenes
from fovea.scenes.scene import compose


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with parts, as PACO and as COCO."""
    path = tmp_path_factory.mktemp("data")
    write_part_scenes(path, 2, 1_000_060, size=96)
    (path / PACO_FILE).rename(path / "paco_lvis_v1_val.json")
    (path / "instances.json").rename(path / "instances_val2017.json")
    return path


def test_a_part_is_a_whole_sentence_and_an_object_is_not(data: Path) -> None:
    for name, source in (("parts", Source(limit=1)), ("paco", Source(data, "val"))):
        parts, objects = (
            open_benchmark(name, Source(source.data, source.split, kind, source.limit)) for kind in ("part", "object")
        )
        assert (parts.template, objects.template) == ("{}", None)
        assert open_benchmark(name, source).name == parts.name != objects.name
        assert {query.kind for query in parts.examples[0].queries} == {"part"}
    assert open_benchmark("scenes", Source(limit=1)).template is None


def test_tables_know_parts_of_paco_and_objects_of_coco(data: Path) -> None:
    assert open_benchmark("coco", Source(data)).split == "coco-val"
    assert open_benchmark("paco", Source(data)).split == "paco-val"
    assert open_benchmark("paco", Source(data, kind="object")).split == ""
    assert open_benchmark("parts", Source(data)).split == ""
    assert open_benchmark("parts", Source()).split == ""


def test_scenes_are_read_as_coco(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, 1_000_060, size=96)
    benchmark, scene = open_benchmark("coco", Source(tmp_path)), compose(1_000_060, 96)
    (example,) = benchmark.examples
    names = [thing.name for thing in scene.things]
    assert {query.text: [names[index] for index in query.targets] for query in example.queries} == {
        name: [name] * names.count(name) for name in names
    }


def test_composed_ones_are_many(data: Path) -> None:
    assert evaluate._COMPOSED == COMPOSED
    assert len(open_benchmark("parts", Source()).examples) == COMPOSED
    assert len(open_benchmark("paco", Source(data, limit=1)).examples) == 1


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("nothing", Source(), "known are: scenes, parts, refcoco, refcoco-masks, phrasecut, coco, paco"),
        ("coco", Source(), "coco needs its data"),
        ("paco", Source(), "paco needs its data"),
        ("scenes", Source(kind="part"), "leave --kind out"),
        ("parts", Source(kind="whole"), "known are part and object"),
    ],
)
def test_what_cannot_be_asked(name: str, source: Source, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_benchmark(name, source)


def test_every_benchmark_is_named_in_the_help() -> None:
    assert list(BENCHMARKS) == ["scenes", "parts", "refcoco", "refcoco-masks", "phrasecut", "coco", "paco"]


def test_masks_of_expressions_by_the_names_of_tables(tmp_path: Path) -> None:
    folder, pictures = tmp_path / "refcoco+", tmp_path / "train2014"
    folder.mkdir()
    pictures.mkdir()
    Image.new("RGB", (20, 10)).save(pictures / "COCO_train2014_000000000005.jpg")
    sentence = {"sent_id": 1, "sent": "the cup", "raw": "The cup", "tokens": ["the", "cup"]}
    reference = {"ref_id": 1, "ann_id": 7, "image_id": 5, "split": "testA", "sentences": [sentence]}
    (folder / "refs(unc).p").write_bytes(pickle.dumps([reference], protocol=0))
    row = {"id": 7, "image_id": 5, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "category_id": 1}
    image = {"id": 5, "file_name": "COCO_train2014_000000000005.jpg", "width": 20, "height": 10}
    (folder / "instances.json").write_text(json.dumps({"images": [image], "annotations": [row]}))
    benchmark = open_benchmark("refcoco-masks", Source(tmp_path, "refcoco+-testA"))
    (example,) = benchmark.examples
    assert [query.text for query in example.queries] == ["the cup"]
    assert example.truth.areas.tolist() == [16]
    # Only a run on proposed masks is compared with the paper's.
    place = setting(benchmark.split, "grid", GridSettings())
    assert RECIPES["iterprime"].reported[place] == 51.6
    assert setting(benchmark.split, "ground-truth", GridSettings()) not in RECIPES["iterprime"].reported
    with pytest.raises(DataError, match="no refs"):
        open_benchmark("refcoco-masks", Source(tmp_path, "refcoco+-google-val"))


def test_only_the_usual_division_is_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'refcoco' names no split; write it as"):
        open_benchmark("refcoco-masks", Source(tmp_path, "refcoco"))

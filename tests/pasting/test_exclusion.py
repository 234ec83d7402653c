"""Categories of benchmarks, by sense and by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fovea.datasets.subsets import COCO_NAMES
from fovea.errors import DataError
from fovea.pasting.exclusion import BENCHMARKS, excluded, read_senses

# Name, sense, synonyms: as in LVIS, whose cow is of the sense "beef".
CATEGORIES = [
    ("cow", "beef.n.01", ["cow"]),
    ("beef_(food)", "beef.n.02", ["beef_(food)", "boeuf_(food)"]),
    ("flowerpot", "pot.n.04", ["flowerpot"]),
    ("pot", "pot.n.01", ["pot"]),
    ("suitcase", "bag.n.06", ["suitcase", "baggage", "luggage"]),
    ("tote_bag", "bag.n.01", ["tote_bag"]),
    ("handbag", "bag.n.04", ["handbag", "purse", "pocketbook"]),
    ("mouse_(computer_equipment)", "mouse.n.04", ["mouse_(computer_equipment)", "computer_mouse"]),
    ("mouse_(rodent)", "mouse.n.01", ["mouse_(rodent)"]),
    ("monitor_(computer_equipment) computer_monitor", "monitor.n.04", ["monitor_(computer_equipment)"]),
    ("car_(automobile)", "car.n.01", ["car_(automobile)", "auto_(automobile)", "automobile"]),
    ("railcar_(part_of_a_train)", "car.n.02", ["railcar_(part_of_a_train)", "railway_car_(part_of_a_train)"]),
    ("duck", "duck.n.01", ["duck"]),
    # Known by another sense than ours, and said to be the same.
    ("settee", "settee.n.09", ["settee", "couch"]),
]
COCO = {"cow", "flowerpot", "suitcase", "handbag", "mouse_(computer_equipment)", "car_(automobile)", "settee"}
VOC = {"cow", "flowerpot", "car_(automobile)", "monitor_(computer_equipment) computer_monitor", "settee"}
NAMES = [name for name, _, _ in CATEGORIES]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [{"name": name, "synset": synset, "synonyms": words} for name, synset, words in CATEGORIES]
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps({"categories": rows}))
    (tmp_path / "list.json").write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(("benchmarks", "wanted"), [(["coco"], COCO), (["voc"], VOC), (BENCHMARKS, COCO | VOC)])
def test_senses_decide(file: Path, benchmarks: list[str], wanted: set[str]) -> None:
    assert excluded(NAMES, benchmarks, read_senses(file)) == wanted


def test_the_list_of_categories_is_enough(file: Path) -> None:
    assert read_senses(file.with_name("list.json")) == read_senses(file)


def test_without_senses_names_decide() -> None:
    # Of a name in two senses both are left out: nobody knows better.
    assert excluded(NAMES, ["coco"]) == COCO - {"settee"} | {"mouse_(rodent)"}
    assert excluded(["Wine_Glass", "wineglass", "wine_bottle", "(odd)"], ["coco"]) == {"Wine_Glass", "wineglass"}
    assert excluded(NAMES, []) == frozenset()


def test_a_name_that_the_list_does_not_know_is_compared_as_it_is(file: Path) -> None:
    assert excluded(["zebra", "zebu"], ["coco"], read_senses(file)) == {"zebra"}


def test_all_categories_of_both_benchmarks_are_known() -> None:
    assert excluded(COCO_NAMES, ["coco"]) == COCO_NAMES
    voc = [
        "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
        "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ]  # fmt: skip
    assert len(voc) == 20
    assert excluded(voc, ["voc"]) == frozenset(voc)
    # What both have is one row: each goes by the names of the other, too.
    assert excluded(COCO_NAMES, ["voc"]) == {
        "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
        "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
    }  # fmt: skip


def test_a_table_of_nothing_twice() -> None:
    path = Path(__file__).parents[2] / "src/fovea/pasting/benchmark_senses.tsv"
    rows = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]
    synsets = [synset for row in rows for synset in row[2].split(", ")]
    assert len(synsets) == len({*synsets})
    assert len(rows) == 81


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "{}",
        "[1]",
        '[{"name": "a"}]',
        '[{"name": "a", "synset": 1}]',
        '{"categories": "abc"}',
        '[{"name": "a", "synset": "a.n.01", "synonyms": [1]}]',
        '[{"name": "a", "synset": "a.n.01", "synonyms": 1}]',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError):
        read_senses(path)


def test_other_benchmarks_are_refused() -> None:
    with pytest.raises(DataError, match="coco, voc"):
        excluded(["cow"], ["kitti"])

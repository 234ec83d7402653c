"""PACO's annotation files, also those of our own scenes: what is written is what was composed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.paco import read_paco
from fovea.errors import DataError
from fovea.evaluation.examples import Kind, composed_part_examples, read_examples
from fovea.pictures import open_picture
from fovea.scenes.paco import PACO_FILE, write_part_scenes

SEED = 1_000_040


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts")
    write_part_scenes(path, 3, SEED)
    return path


@pytest.mark.parametrize("kind", ["part", "object"])
def test_scenes_with_parts_come_back(scenes: Path, kind: Kind) -> None:
    examples = read_paco(scenes, "scenes", kind)
    assert len(examples) == 3
    for read, made in zip(examples, composed_part_examples(SEED, 3, kind=kind), strict=True):
        assert read.key == made.key
        assert read.queries == made.queries
        np.testing.assert_allclose(read.truth.boxes, made.truth.boxes, atol=1e-3)
        np.testing.assert_array_equal(read.truth.dense_masks(), made.truth.dense_masks())
        np.testing.assert_array_equal(open_picture(read.picture).pixels, made.picture)


def test_parts_name_their_object(scenes: Path) -> None:
    document = json.loads((scenes / PACO_FILE).read_text())
    categories = {row["id"]: row for row in document["categories"]}
    assert len(categories) == len(document["categories"])
    annotations = {row["id"]: row for row in document["annotations"]}
    assert {category["supercategory"] for category in categories.values()} == {"OBJECT", "PART"}
    for row in annotations.values():
        category, whole = categories[row["category_id"]], annotations[row["obj_ann_id"]]
        assert whole["obj_ann_id"] == whole["id"]
        assert whole["image_id"] == row["image_id"]
        assert (category["supercategory"] == "OBJECT") == (whole is row)
        if whole is not row:
            assert category["name"].split(":")[0] == categories[whole["category_id"]]["name"]
    counts = [sum(row["category_id"] == number for row in annotations.values()) for number in categories]
    assert counts == [category["instance_count"] for category in categories.values()]
    assert all(" " not in category["name"] for category in categories.values())


def test_the_other_files_hold_the_same_scenes(scenes: Path) -> None:
    """As expressions, all things of a picture are candidates."""
    for example in read_examples(scenes):
        parts, objects = (read_paco(scenes, kind=kind)[int(example.key) - SEED] for kind in ("part", "object"))
        assert len(example.truth) == len(parts.truth) + len(objects.truth)
        assert {(q.text, q.kind) for q in example.queries} == {
            (q.text, q.kind) for e in (parts, objects) for q in e.queries
        }


def paco(directory: Path, *names: tuple[str, str]) -> Path:
    """A file with one annotation per category name and supercategory, on one picture."""
    Image.new("RGB", (20, 20)).save(directory / "1.png")
    document: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "train2017/1.png", "width": 20, "height": 20}],
        "categories": [{"id": i, "name": name, "supercategory": kind} for i, (name, kind) in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "obj_ann_id": 0, "bbox": [i, i, 5, 5]} for i in range(len(names))
        ],
    }
    (directory / "paco_lvis_v1_val.json").write_text(json.dumps(document))
    return directory


def test_names_are_read_as_phrases(tmp_path: Path) -> None:
    data = paco(
        tmp_path,
        ("mouse_(computer_equipment)", "OBJECT"),
        ("mouse_(computer_equipment):left_button", "PART"),
        ("bucket", "OBJECT"),
        ("bucket:handle", "PART"),
        ("mouse_(animal):left_button", "PART"),
    )
    (parts,) = read_paco(data, "val")
    # Two senses that read the same are one question with two right answers.
    assert [(q.text, q.targets) for q in parts.queries] == [
        ("the left button of mouse", (0, 2)),
        ("the handle of bucket", (1,)),
    ]
    assert [q.text for q in read_paco(data, "val", "object")[0].queries] == ["mouse", "bucket"]
    assert parts.picture == tmp_path / "1.png"


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of annotations"):
        read_paco(tmp_path)
    with pytest.raises(DataError, match="no categories of the kind 'part'"):
        read_paco(paco(tmp_path, ("cat", "animal")))
    with pytest.raises(DataError, match="PACO writes object:part"):
        read_paco(paco(tmp_path, ("handle", "PART")))

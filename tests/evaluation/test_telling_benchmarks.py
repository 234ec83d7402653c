"""Benchmarks of told boxes: which pictures, which names, which boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.errors import DataError, RegionError
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.telling_benchmarks import open_telling
from fovea.scenes.glyphs import pasted_glyphs

SIZE = (40, 30)


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(path)


def instances(directory: Path, name: str, category: str) -> None:
    """Pictures 1 to 5 with so many things, of which one of picture 4 is a crowd."""
    rows: list[dict[str, Any]] = [
        {"id": 10 * number + thing, "image_id": number, "category_id": 3, "bbox": [thing, 2, 10.5, 9], "iscrowd": 0}
        for number in (1, 3, 4, 5)
        for thing in range(number if number < 4 else 3)
    ]
    rows += [{"id": 45, "image_id": number, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1} for number in (2, 4)]
    images = [{"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]} for n in range(1, 7)]
    document = {"images": images, "annotations": rows, "categories": [{"id": 3, "name": category}]}
    (directory / name).write_text(json.dumps(document))


def test_scenes_of_few_things_that_are_never_pasted() -> None:
    benchmark = open_telling("scenes-told", Source(limit=12, names="held-out"))
    held_out = {glyph.name for glyph in pasted_glyphs(held_out=True)}
    opened = [one.open() for one in benchmark.pictures]
    assert [one.key for one in benchmark.pictures] == [str(1_000_000 + number) for number in range(12)]
    assert {len(one.names) for one in opened} == {1, 2, 3}
    assert {name for one in opened for name in one.names} <= held_out
    assert all(one.boxes.shape == (len(one.names), 4) for one in opened)
    assert set(opened[0].groups) == {""}
    both = [one.open() for one in open_telling("scenes-told", Source(limit=30, names="all")).pictures]
    named = {(name, group) for one in both for name, group in zip(one.names, one.groups, strict=True)}
    assert {group for _, group in named} == {"pasted", "held-out"}
    assert all((name in held_out) == (group == "held-out") for name, group in named)


def test_coco_and_its_crowds(tmp_path: Path) -> None:
    instances(tmp_path, "instances_val2017.json", "Hot_Dog")
    benchmark = open_telling("coco", Source(tmp_path))
    # Picture 6 has nothing, and with its crowd picture 4 has four things.
    assert [one.key for one in benchmark.pictures] == ["1", "2", "3", "5"]
    assert (benchmark.form, benchmark.split) == ("coco", "coco")
    picture(tmp_path / "val2017" / "3.png")
    things = benchmark.pictures[2].open()
    assert things.names == ("Hot_Dog",) * 3
    assert things.boxes[1].tolist() == [1, 2, 10.5, 9]
    assert open_telling("coco", Source(tmp_path, limit=2)).split == ""
    picture(tmp_path / "val2017" / "5.png", (41, 30))
    with pytest.raises(RegionError, match="other sides"):
        benchmark.pictures[3].open()


def test_lvis_names_are_made_readable(tmp_path: Path) -> None:
    instances(tmp_path, "lvis_v1_val.json", "mouse_(computer_equipment)")
    benchmark = open_telling("lvis", Source(tmp_path))
    picture(tmp_path / "1.png")
    assert benchmark.pictures[0].open().names == ("mouse",)
    assert benchmark.split == "lvis"


def test_voc_with_its_names_as_written(tmp_path: Path) -> None:
    home = tmp_path / "VOC2007"
    (home / "ImageSets" / "Main").mkdir(parents=True)
    (home / "Annotations").mkdir()
    thing = (
        "<object><name>pottedplant</name><difficult>1</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>21</xmax>"
        "<ymax>20</ymax></bndbox></object>"
    )
    for key, count in (("a", 1), ("b", 4), ("c", 0), ("d", 3)):
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
        (home / "Annotations" / f"{key}.xml").write_text(f"<annotation>{size}{thing * count}</annotation>")
    (home / "ImageSets" / "Main" / "test.txt").write_text("a\nb\nc\nd\n")
    benchmark = open_telling("pvoc", Source(tmp_path))
    assert [one.key for one in benchmark.pictures] == ["a", "d"]
    assert (benchmark.form, benchmark.split) == ("voc", "pvoc")
    picture(home / "JPEGImages" / "a.jpg")
    things = benchmark.pictures[0].open()
    assert (things.names, things.boxes.tolist()) == (("pottedplant",), [[2, 3, 21, 20]])


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    for name, source, message in (
        ("scenes", Source(), "known are scenes-told, pvoc, coco, lvis, refcoco"),
        ("scenes-told", Source(), "no set of names called 'train'"),
        ("scenes-told", Source(tmp_path, names="all"), "leave --data out"),
        ("coco", Source(), "needs its data"),
        ("lvis", Source(tmp_path, kind="part"), "leave --kind out"),
        ("refcoco", Source(tmp_path, "testA"), "names no split"),
    ):
        with pytest.raises(DataError, match=message):
            open_telling(name, source)


def test_the_last_words_of_references(tmp_path: Path) -> None:
    import pickle

    folder = tmp_path / "refcoco"
    folder.mkdir()
    said = [{"sent": "left one", "raw": "Left one"}, {"sent": "the red one", "raw": "The red one!"}]
    refs = [{"image_id": 1, "ann_id": 10, "split": "testA", "sentences": said}]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=0))
    row = {"id": 10, "image_id": 1, "bbox": [4, 5, 20, 10], "segmentation": [[4, 5, 24, 5, 24, 15, 4, 15]]}
    images = [{"id": 1, "file_name": "1.png", "width": SIZE[0], "height": SIZE[1]}]
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": [row]}))
    picture(tmp_path / "images" / "1.png")
    benchmark = open_telling("refcoco", Source(tmp_path))
    assert (benchmark.form, benchmark.split) == ("coco", "refcoco-testA")
    things = benchmark.pictures[0].open()
    assert things.names == ("The red one!",)
    np.testing.assert_array_equal(things.boxes, [[4, 5, 20, 10]])

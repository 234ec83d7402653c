"""Pasted pictures on disk: what their annotations say is in them, whatever happened on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.coco import read_coco
from fovea.errors import DataError
from fovea.language.box_text import GridCodec
from fovea.pasting.glyphs import glyph_pasting
from fovea.pasting.grid import PasteSettings
from fovea.pasting.pictures import Pasting
from fovea.pasting.referral import Referral
from fovea.pipelines import pasting as pipeline
from fovea.pipelines.pasting import paste_run, write_instances

PASTING = glyph_pasting(64, PasteSettings(8), seed=5, referral=Referral())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PER_BLOCK", 2)


def written(directory: Path, pasting: Pasting = PASTING, count: int = 5, workers: int = 1) -> dict[str, bytes]:
    run = paste_run(pasting, (1, 3), range(count), directory)
    run.run(workers)
    assert run.done() == count
    write_instances(pasting, run)
    files = [path for path in directory.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_annotations_say_what_is_pasted(tmp_path: Path) -> None:
    written(tmp_path)
    data = json.loads((tmp_path / "instances.json").read_text())
    names = {row["id"]: row["name"] for row in data["categories"]}
    assert tuple(names.values()) == PASTING.cut_outs.names
    codec = GridCodec(8, 64)
    for row in data["images"]:
        pasted = PASTING.picture(row["id"], (1, 3))
        with Image.open(tmp_path / "images" / row["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), pasted.pixels)
        mine = [one for one in data["annotations"] if one["image_id"] == row["id"]]
        assert tuple(one["phrase"] for one in mine) == pasted.names
        assert tuple(names[one["category_id"]] for one in mine) == pasted.categories
        for one, cells in zip(mine, pasted.cells, strict=True):
            x, y, width, height = one["bbox"]
            assert codec.encode(cells) == f"[{x},{y},{x + width},{y + height}]"
            assert one["area"] == width * height


def test_they_are_a_benchmark_in_cocos_form(tmp_path: Path) -> None:
    written(tmp_path)
    examples = read_coco(tmp_path)
    assert len(examples) == 5
    assert {query.text for query in examples[0].queries} == {*PASTING.picture(0, (1, 3)).categories}


def test_a_stopped_run_goes_on_and_more_workers_change_nothing(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    stopped = paste_run(PASTING, (1, 3), range(5), tmp_path / "stopped")

    class StoppedError(Exception):
        pass

    def stop() -> None:
        if len(list((tmp_path / "stopped" / "images").iterdir())) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        stopped.run(1, stop)
    assert (stopped.missing(), stopped.done()) == ([1, 2], 2)
    seen: list[int] = []
    paste_run(PASTING, (1, 3), range(5), tmp_path / "stopped").run(2, lambda: seen.append(1))
    assert len(seen) == 3
    assert written(tmp_path / "stopped") == whole


def test_folders_of_other_runs_are_refused(tmp_path: Path) -> None:
    written(tmp_path, count=1)
    before = (tmp_path / "instances.json").read_bytes()
    for other in (glyph_pasting(64, PasteSettings(8), seed=6, referral=Referral()), glyph_pasting(64)):
        with pytest.raises(DataError, match="was made with"):
            paste_run(other, (1, 3), range(1), tmp_path).run()
    with pytest.raises(DataError, match="was made with pictures"):
        paste_run(PASTING, (1, 3), range(2), tmp_path).run()
    assert (tmp_path / "instances.json").read_bytes() == before
    other_things = tmp_path / "mine"
    other_things.mkdir()
    (other_things / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds other things"):
        paste_run(PASTING, (1, 3), range(1), other_things).run()
    assert [path.name for path in other_things.iterdir()] == ["letter.txt"]


def test_damaged_status_is_named(tmp_path: Path) -> None:
    written(tmp_path, count=1)
    (tmp_path / "status" / "000000.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"000000\.jsonl is damaged"):
        list(paste_run(PASTING, (1, 3), range(1), tmp_path).rows())

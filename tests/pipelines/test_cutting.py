"""Cut-outs from annotated pictures: the right pixels in the right folders, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.errors import DataError
from fovea.pasting.cutting import CutLimits
from fovea.pasting.folders import folder_pasting
from fovea.pipelines.blocks import BlockRun
from fovea.pipelines.cutting import count_cut_outs, cut_run, folder_name, shrink_run
from fovea.scenes.export import write_scenes
from fovea.scenes.scene import compose

SEED, SIZE = 2_000_100, 128
LIMITS = CutLimits(least_side=16)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes. Not to be written to."""
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, 3, SEED, size=SIZE)
    return path


def document(scenes: Path) -> Any:
    return json.loads((scenes / "instances.json").read_text())


def changed(scenes: Path, folder: Path, data: Any) -> Path:
    folder.mkdir()
    (folder / "images").symlink_to(scenes / "images")
    (folder / "instances.json").write_text(json.dumps(data))
    return folder / "instances.json"


def cut(file: Path, out: Path, **more: Any) -> BlockRun:
    run = cut_run(file, None, out, LIMITS, **more)
    run.run()
    return run


def pictures(folder: Path) -> dict[str, Path]:
    return {f"{path.parent.name}/{path.name}": path for path in folder.rglob("*.png")}


def test_things_are_cut_out_along_their_masks(scenes: Path, tmp_path: Path) -> None:
    run = cut(scenes / "instances.json", tmp_path / "things")
    data, found = document(scenes), pictures(tmp_path / "things")
    names = {row["id"]: row["name"] for row in data["categories"]}
    compared = 0
    for number in range(SEED, SEED + 3):
        scene = compose(number, SIZE)
        rows = [row for row in data["annotations"] if row["image_id"] == number]
        for row, mask in zip(rows, scene.masks, strict=True):
            path = found.pop(f"{names[row['category_id']].replace(' ', '_')}/{row['id']}.png", None)
            if path is None:
                continue
            pixels = np.asarray(Image.open(path))
            solid = pixels[..., 3] == 255
            ys, xs = np.nonzero(mask)
            # Where the mask is one piece the crop is its box.
            if solid.sum() == mask.sum():
                window = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
                np.testing.assert_array_equal(solid, mask[window])
                np.testing.assert_array_equal(pixels[solid][:, :3], scene.pixels[mask])
                compared += 1
    assert compared >= 8
    assert not found
    counts, reasons = count_cut_outs(run.rows())
    assert counts["ok"] == 3
    assert counts["regions"] + sum(reasons.values()) == len(data["annotations"])


def test_what_is_cut_out_can_be_pasted(scenes: Path, tmp_path: Path) -> None:
    cut(scenes / "instances.json", tmp_path / "things")
    pasted = folder_pasting(tmp_path / "things", 64).picture(0, (3, 3))
    known = {row["name"] for row in document(scenes)["categories"]}
    assert {*pasted.names} <= known


def test_names_from_files_stay_inside(scenes: Path, tmp_path: Path) -> None:
    data = document(scenes)
    bad = ["../../outside", "/etc/passwd", "..", "a/b\\c\0d", "", "x" * 500, "CON\n", ".hidden"]
    for row, name in zip(data["categories"], bad * 99, strict=False):
        row["name"] = name
    cut(changed(scenes, tmp_path / "data", data), tmp_path / "out" / "things")
    made = pictures(tmp_path / "out")
    assert made
    assert all(path.parent.parent == tmp_path / "out" / "things" for path in made.values())
    assert not pictures(tmp_path / "data" / "outside")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("wine glass", "wine_glass"),
        ("mouse_(computer_equipment)", "mouse_(computer_equipment)"),
        ("t-shirt", "t-shirt"),
        ("../up", "up"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("a/b", "a_b"),
    ],
)
def test_folders_are_named_by_categories(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_broken_things_and_pictures_are_counted(scenes: Path, tmp_path: Path) -> None:
    data = document(scenes)
    first, second, third = (row["id"] for row in data["images"])
    mine = [row for row in data["annotations"] if row["image_id"] == first]
    mine[0]["segmentation"] = None
    mine[1]["segmentation"] = [[1, 2, 3]]
    mine[2]["segmentation"] = {"size": [4, 4], "counts": [16]}
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] != third]
    next(row for row in data["images"] if row["id"] == second)["file_name"] = "none.png"
    run = cut(changed(scenes, tmp_path / "data", data), tmp_path / "things")
    counts, reasons = count_cut_outs(run.rows())
    assert (counts["ok"], counts["failed"]) == (2, 1)
    assert (reasons["without a mask"], reasons["with a broken mask"]) == (1, 2)
    rows = {row["id"]: row for row in run.rows()}
    assert "none.png" in rows[second]["reason"]


def test_polygons_are_cut_out_and_large_things_shrunk(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    box = [10, 20, 60, 60]
    outline = [10, 20, 70, 20, 70, 80]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 90}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 2, "bbox": box, "segmentation": [outline]}],
        "categories": [{"id": 2, "name": "sail"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(data))
    run = cut_run(tmp_path / "instances.json", None, tmp_path / "things", CutLimits(longest=30))
    run.run()
    image = Image.open(tmp_path / "things" / "sail" / "7.png")
    assert image.size == (30, 30)
    alpha = np.asarray(image)[..., 3]
    # Half of the box, the upper right one.
    assert alpha[2, -3] == 255
    assert alpha[-3, 2] == 0
    assert 0.4 < (alpha > 127).mean() < 0.6


def test_a_folder_without_the_pictures_is_refused(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    run = cut_run(scenes / "instances.json", tmp_path / "none", tmp_path / "things", LIMITS)
    with pytest.raises(DataError, match="none of 3 pictures is there"):
        run.run()
    # With the pictures the same command goes on.
    cut_run(scenes / "instances.json", scenes, tmp_path / "things", LIMITS).run()
    assert pictures(tmp_path / "things")


def test_pictures_without_annotations_hide_no_wrong_folder(scenes: Path, tmp_path: Path) -> None:
    data = document(scenes)
    empty = data["images"][0]["id"]
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] != empty]
    (tmp_path / "none").mkdir()
    run = cut_run(changed(scenes, tmp_path / "data", data), tmp_path / "none", tmp_path / "things", LIMITS)
    with pytest.raises(DataError, match="none of 2 pictures is there"):
        run.run()
    assert run.done() == 0


def test_other_limits_are_another_run(scenes: Path, tmp_path: Path) -> None:
    cut(scenes / "instances.json", tmp_path, limit=1)
    with pytest.raises(DataError, match="least_side"):
        cut_run(scenes / "instances.json", None, tmp_path, CutLimits(), 1).run()


def test_cut_outs_from_elsewhere_are_made_to_fit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "wine_glass").mkdir(parents=True)
    image = Image.new("RGBA", (300, 200))
    image.paste((200, 30, 30, 255), (40, 50, 240, 150))
    image.paste((0, 0, 0, 0), (60, 60, 100, 100))
    image.paste((30, 200, 30, 255), (280, 180, 299, 199))
    image.save(source / "wine_glass" / "a.png")
    (source / "wine_glass" / "b.png").write_bytes(b"no picture")
    Image.new("RGBA", (300, 200), (9, 9, 9, 255)).save(source / "wine_glass" / "c.png")
    run = shrink_run(source, tmp_path / "things", CutLimits(longest=100))
    run.run()
    counts, reasons = count_cut_outs(run.rows())
    assert (counts["ok"], counts["failed"], counts["regions"]) == (2, 1, 1)
    assert dict(reasons) == {"too much of its box": 1}
    assert list(pictures(tmp_path / "things")) == ["wine_glass/a.png"]
    found = np.asarray(Image.open(tmp_path / "things" / "wine_glass" / "a.png"))
    assert found.shape == (50, 100, 4)
    assert (found[12:22, 15:25, 3] == 0).all()
    np.testing.assert_array_equal(found[40, 50], (200, 30, 30, 255))

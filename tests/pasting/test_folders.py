"""Cut-outs and backgrounds from folders, some of them damaged."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.errors import DataError
from fovea.pasting.backgrounds import FolderBackgrounds
from fovea.pasting.folders import FolderCutOuts, folder_pasting


def cut_out(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 20), margin: int = 6) -> None:
    image = Image.new("RGBA", (size[0] + 2 * margin, size[1] + 2 * margin))
    image.paste((*colour, 255), (margin, margin, margin + size[0], margin + size[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def things(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    cut_out(folder / "wine_glass" / "1.png", (255, 0, 0))
    cut_out(folder / "wine_glass" / "2.png", (250, 0, 0))
    cut_out(folder / "pole_(post)" / "1.png", (0, 255, 0), (10, 400))
    cut_out(folder / "pole_(stick)" / "1.png", (0, 250, 0), (10, 400))
    (folder / "empty").mkdir()
    (folder / ".hidden").mkdir()
    (folder / "about.json").write_text("{}")
    return folder


def read(folder: Path) -> FolderCutOuts:
    return FolderCutOuts.read(folder, 100, lambda names: ())


def test_folders_are_categories_by_readable_names(things: Path) -> None:
    cut_outs = read(things)
    assert cut_outs.names == ("pole", "wine glass")
    seen = {np.asarray(cut_outs.draw(0, np.random.default_rng(seed)))[0, 0].tolist()[1] for seed in range(20)}
    assert seen == {255, 250}


def test_cut_outs_are_cropped_and_no_larger_than_asked_for(things: Path) -> None:
    cut_outs, rng = read(things), np.random.default_rng(0)
    glass, pole = cut_outs.draw(1, rng), cut_outs.draw(0, rng)
    assert (glass.mode, glass.size) == ("RGBa", (40, 20))
    assert pole.size == (2, 100)
    assert np.asarray(glass)[..., 3].min() == 255


def test_damaged_files_are_left_out_with_a_warning(things: Path, caplog: pytest.LogCaptureFixture) -> None:
    (things / "wine_glass" / "2.png").write_bytes(b"no picture")
    Image.new("RGBA", (9, 9)).save(things / "wine_glass" / "3.png")
    cut_outs = read(things)
    with caplog.at_level(logging.WARNING):
        found = [np.asarray(cut_outs.draw(1, np.random.default_rng(seed)))[0, 0, 0] for seed in range(12)]
    assert {*found} == {255}
    # Each is reported once.
    assert sorted(Path(record.args[0]).name for record in caplog.records) == ["2.png", "3.png"]
    for path in (things / "wine_glass").iterdir():
        path.write_bytes(b"")
    assert read(things).draw(1, np.random.default_rng(0)) is None


def test_what_was_read_before_changes_nothing(things: Path) -> None:
    (things / "wine_glass" / "1.png").write_bytes(b"no picture")
    fresh, used = (folder_pasting(things, 32) for _ in range(2))
    for number in range(6):
        used.picture(number, (1, 2))
    for made in (used, pickle.loads(pickle.dumps(used))):
        np.testing.assert_array_equal(made.picture(6, (1, 2)).pixels, fresh.picture(6, (1, 2)).pixels)


def test_pictures_show_what_they_name(things: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    Image.new("RGB", (300, 100), (0, 0, 255)).save(tmp_path / "back" / "sea.jpg")
    pasting = folder_pasting(things, 64, backgrounds=tmp_path / "back")
    for number in range(8):
        pasted = pasting.picture(number, (1, 2))
        red, green, blue = (pasted.pixels[..., channel] > 200 for channel in range(3))
        assert red.any() == ("wine glass" in pasted.names)
        assert green.any() == ("pole" in pasted.names)
        left, top, right, bottom = pasted.cells[-1]
        shown = red if pasted.names[-1] == "wine glass" else green
        assert shown[top * 4 : bottom * 4 + 4, left * 4 : right * 4 + 4].all()
        assert blue[~(red | green)].all()


def test_excluded_categories_and_the_others(things: Path, tmp_path: Path) -> None:
    senses = tmp_path / "lvis.json"
    senses.write_text(json.dumps([{"name": "wine_glass", "synset": "wineglass.n.01"}]))
    assert folder_pasting(things, 32, exclude=["coco"], categories=senses).cut_outs.names == ("pole",)
    assert folder_pasting(things, 32, exclude=["coco"], held_out=True).cut_outs.names == ("wine glass",)
    with pytest.raises(DataError, match="that are wanted"):
        folder_pasting(things, 32, exclude=["voc"], held_out=True)


def test_folders_without_cut_outs_are_refused(tmp_path: Path) -> None:
    for folder, words in ((tmp_path, "no cut-outs"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(DataError, match=words):
            read(folder)
    cut_out(tmp_path / "()" / "1.png", (1, 2, 3))
    with pytest.raises(DataError, match="names no category"):
        read(tmp_path)


def test_keys_name_the_files(things: Path) -> None:
    before = read(things).key
    assert read(things).key == before
    (things / "wine_glass" / "2.png").rename(things / "wine_glass" / "9.png")
    assert read(things).key != before


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    try:
        Image.new("RGB", (8, 8)).save(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert "1 files" in FolderBackgrounds.read(tmp_path).key


def test_backgrounds_are_squashed_photographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    photograph = coarse.resize((1200, 900), Image.Resampling.BICUBIC)
    photograph.save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("")
    backgrounds = FolderBackgrounds.read(tmp_path)
    wanted = np.asarray(photograph.resize((64, 64), Image.Resampling.BILINEAR), float)
    for seed in range(4):
        found = backgrounds.draw(64, np.random.default_rng(seed))
        assert found.shape == (64, 64, 3)
        # JPEG decodes to a quarter right away; what is left of it looks the same.
        assert np.abs(found - wanted).mean() < 4
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="no picture"):
        FolderBackgrounds.read(tmp_path).draw(64, rng)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        FolderBackgrounds.read(empty)

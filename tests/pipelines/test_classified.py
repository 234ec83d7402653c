"""Classified pictures: objects on white, ranks within classes, captions that name the class."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.region_texts import DescribedPicture, from_members
from fovea.datasets.shards import read_shard
from fovea.errors import DataError
from fovea.pictures import Picture
from fovea.pipelines.captions import caption_with_class
from fovea.pipelines.classified import Ranking
from fovea.pipelines.cut_outs import cut_out
from fovea.pipelines.describer import Settings
from fovea.pipelines.output import Output
from fovea.pipelines.rgba import RgbaRun
from fovea.pipelines.sources import make_plan

ALL = frozenset({"jpg", "png", "json"})


def described_in(output: Output, count: int) -> list[DescribedPicture]:
    samples = (sample for number in range(count) for sample in read_shard(output.shard(number), ALL))
    return [from_members(sample.key, sample.members) for sample in samples]


def run_of(source: str, out: Path, settings: Settings, **names: str) -> RgbaRun:
    return RgbaRun(make_plan([source], 7, names), Output(out), settings)


def test_the_best_of_every_class_are_kept(class_folders: Path, tmp_path: Path) -> None:
    settings = Settings(points_per_side=5, models="mini-vit", per_picture=2, device="cpu", ranking=Ranking(0.5, 0.05))
    run = run_of(f"classified:{class_folders}", tmp_path / "out", settings)
    assert run.run() == 0
    numbers = len(run.mine)
    assert numbers == 2
    scores = defaultdict(list)
    for one in described_in(run.candidates, numbers):
        assert 1 <= len(one.regions) <= 2
        assert one.regions[0].score >= one.regions[-1].score
        for region in one.regions:
            scores[region.text].append(region.score)
    kept = defaultdict(list)
    for one in described_in(run.output, numbers):
        for region in one.regions:
            assert region.text == one.caption
            kept[region.text.removeprefix("a photo of ")].append(region.score)
    for name, values in scores.items():
        wanted = sorted(values, reverse=True)[: max(1, -(-len(values) // 2))]
        assert sorted(kept[name], reverse=True) == [value for value in wanted if value >= 0.05]
    counts = run.count()
    assert counts["ok"] + counts["skipped"] == sum(len(run.candidates.rows(number)) for number in run.mine)
    assert counts["regions"] == sum(map(len, kept.values()))


def test_shards_name_their_classes(class_folders: Path, write_shard: Callable[..., Path], tmp_path: Path) -> None:
    path = sorted(class_folders.rglob("*.JPEG"))[0]
    members = {"a.jpg": path.read_bytes(), "a.cls": b"3", "b.jpg": path.read_bytes(), "b.cls": b"4"}
    write_shard(tmp_path / "s.tar", members.items())
    settings = Settings(points_per_side=5, device="cpu", ranking=Ranking(1.0))
    run = run_of(f"classified:{tmp_path / 's.tar'}", tmp_path / "out", settings, **{"3": "bucket, pail"})
    run.run()
    rows = run.output.rows(0)
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "has no name" in rows[1]["reason"]
    assert described_in(run.output, 1)[0].caption == "a photo of bucket"


def test_a_captioner_writes_of_the_object(class_folders: Path, tiny_captioner_directory: Path, tmp_path: Path) -> None:
    settings = Settings(points_per_side=5, captioner=str(tiny_captioner_directory), device="cpu", per_picture=1)
    plan = make_plan([f"classified:{class_folders}"], 3, {}, limit=3)
    run = RgbaRun(plan, Output(tmp_path / "out"), settings)
    run.run()
    found = [region.text for one in described_in(run.output, 1) for region in one.regions]
    assert found
    names = {path.name.replace("_", " ") for path in class_folders.iterdir()}
    assert all(any(name in text for name in names) for text in found)
    assert "captioner weights" in json.loads((tmp_path / "out" / "about.json").read_text())["models"]


def test_other_settings_of_the_second_pass_go_on_from_the_candidates(class_folders: Path, tmp_path: Path) -> None:
    plan, output = make_plan([f"classified:{class_folders}"], 3, {}, limit=3), Output(tmp_path / "out")
    RgbaRun(plan, output, Settings(points_per_side=5, device="cpu")).run()
    before = output.directory.joinpath("candidates", "pairs-000000.tar").stat().st_mtime_ns
    other = RgbaRun(plan, output, Settings(points_per_side=5, device="cpu", ranking=Ranking(1.0)))
    with pytest.raises(DataError, match="keep share"):
        other.run()
    (output.directory / "about.json").unlink()
    output.shard(0).unlink()
    other.run()
    assert output.directory.joinpath("candidates", "pairs-000000.tar").stat().st_mtime_ns == before
    assert other.count()["regions"] >= 3


def test_ranks_are_within_classes() -> None:
    scores = [("a", score / 10) for score in range(10)] + [("b", 0.01)]
    assert Ranking(0.3).thresholds(scores) == {"a": 0.7, "b": 0.01}
    assert Ranking(0.3, 0.5).thresholds(scores) == {"a": 0.7, "b": 0.5}
    assert Ranking(1.0).thresholds(scores) == {"a": 0.0, "b": 0.01}


def test_an_object_stands_alone_in_the_middle_of_white() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :, 2] = 255
    mask = np.zeros((40, 60), bool)
    mask[0:10, 40:60] = True
    found = cut_out(Picture(Image.fromarray(pixels)), mask, (40.0, 0.0, 60.0, 10.0), 30)
    expected = np.full((30, 30, 3), 255, np.uint8)
    expected[10:20, 5:25] = (0, 0, 255)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a small dog on a white background", "a small dog, probably beagle"),
        ("A beagle standing against a pure white background.", "A beagle"),
        ("two beagles, isolated on white background", "two beagles"),
        ("a dog with a white background", "a dog, probably beagle"),
        ("a dog is shown in front of a plain, white backdrop", "a dog, probably beagle"),
        ("a white dog with a red ball", "a white dog with a red ball, probably beagle"),
        ("white background", "a photo of beagle"),
        ("on a white background, a dog runs", "a dog runs, probably beagle"),
        ("", "a photo of beagle"),
    ],
)
def test_captions_forget_the_white_and_name_the_class(caption: str, expected: str) -> None:
    assert caption_with_class(caption, "beagle") == expected

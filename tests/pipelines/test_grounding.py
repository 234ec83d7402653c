"""Boxes of phrases to masks: every source of them, upright pictures, and broken ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.datasets.grit import Grounding, Phrase
from fovea.datasets.region_texts import DescribedPicture, from_members
from fovea.datasets.shards import read_shard
from fovea.networks.sam import Sam
from fovea.pictures import open_picture
from fovea.pipelines.describer import Settings
from fovea.pipelines.grounding import describe_grounded
from fovea.pipelines.output import Output
from fovea.pipelines.records import Grounded, Skipped, upright
from fovea.pipelines.rgba import RgbaRun
from fovea.pipelines.sources import make_plan
from fovea.proposers.sam_prompts import add_masks
from fovea.regions import Regions, box_iou, decode_masks, mask_bounds, rle_from_json
from fovea.scenes.scene import Scene, compose

ALL = frozenset({"jpg", "png", "json"})


Write = Callable[[Path, list[tuple[str, bytes]]], Path]


def make(out: Path, *sources: str, per_shard: int = 4, form: Any = "tar") -> tuple[list[DescribedPicture], list[dict]]:
    run = RgbaRun(make_plan(sources, per_shard, {}), Output(out, form), Settings(device="cpu"))
    assert run.run() == 0
    described = [
        from_members(sample.key, sample.members)
        for number in run.mine
        for sample in read_shard(run.output.shard(number), ALL)
    ]
    return described, [row for number in run.mine for row in run.output.rows(number)]


@pytest.fixture
def segmenter(tiny_sam: Callable[[], Sam]) -> SamSegmenter:
    return SamSegmenter(tiny_sam(), "tiny")


def test_masks_are_those_of_boxes_asked_one_by_one(segmenter: SamSegmenter) -> None:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(data, "PNG")
    boxes = [(10.0, 5.0, 60.0, 45.0), (3.0, 4.0, 30.0, 30.0), (10.0, 5.0, 60.0, 45.0), (0.0, 0.0, 70.0, 50.0)]
    phrases = tuple(Phrase(f"thing {number}", box, 0.5) for number, box in enumerate(boxes))
    content = Grounded(upright(data.getvalue()), Grounding("caption", phrases, ("phrase 9: odd",)))
    described, left_out = describe_grounded("k", content, segmenter)
    assert [(one.text, one.box, one.score) for one in described.regions] == [(p.text, p.box, 0.5) for p in phrases]
    assert left_out == ["phrase 9: odd"]
    assert described.picture == data.getvalue()
    picture = open_picture(data.getvalue())
    for region in described.regions:
        alone = add_masks(picture, Regions.from_boxes([region.box], picture.size), segmenter, FeatureCache())
        assert (decode_masks([rle_from_json(region.mask)]) == alone.dense_masks()).all()


def test_nothing_to_describe_is_no_failure(segmenter: SamSegmenter) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    with pytest.raises(Skipped, match="no phrases"):
        describe_grounded("k", Grounded(upright(data.getvalue()), Grounding("c", ())), segmenter)
    with pytest.raises(Skipped, match="phrase 0: odd"):
        describe_grounded("k", Grounded(upright(data.getvalue()), Grounding("c", (), ("phrase 0: odd",))), segmenter)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_come_out_upright_for_readers_that_know_no_exif(orientation: int) -> None:
    image = Image.fromarray(compose(2_000_000, 96).pixels).crop((0, 0, 96, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    image.save(data, "JPEG", exif=exif, quality=95)
    found = upright(data.getvalue())
    assert (found.data == data.getvalue()) == (orientation == 1)
    raw = Image.open(io.BytesIO(found.data))
    assert raw.size == found.picture.size
    difference = np.asarray(raw, float) - np.asarray(found.picture.image, float)
    assert np.abs(difference).mean() < 3


def test_what_few_programs_read_is_written_anew() -> None:
    image = Image.fromarray(compose(2_000_000, 96).pixels)
    for kind, mode, kept in (
        ("WEBP", "RGB", False),
        ("JPEG", "CMYK", False),
        ("JPEG", "L", True),
        ("PNG", "RGBA", False),
    ):
        data = io.BytesIO()
        image.convert(mode).save(data, kind)
        found = upright(data.getvalue())
        assert (found.data == data.getvalue()) == kept
        assert open_picture(found.data).size == (96, 96)
        assert found.suffix in ("jpg", "png")


def test_shards_and_folders_of_records_give_the_same(
    grit_members: list[tuple[str, bytes]], scenes: list[Scene], write_shard: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "folder" / "below"
    folder.mkdir(parents=True)
    for name, data in grit_members:
        (folder / name).write_bytes(data)
    shard = write_shard(tmp_path / "s.tar", grit_members)
    first, rows = make(tmp_path / "a", str(shard))
    second, _ = make(tmp_path / "b", f"grounding:{tmp_path / 'folder'}", per_shard=100, form="folder")
    assert [row["status"] for row in rows] == ["ok"] * len(scenes)
    assert [one.picture for one in first] == [one.picture for one in second]
    for made, one, other in zip(scenes, first, second, strict=True):
        assert one.caption == other.caption
        assert [vars(region) for region in one.regions] == [vars(region) for region in other.regions]
        assert [region.text for region in one.regions] == [f"a {thing.name}" for thing in made.things]
        np.testing.assert_allclose([region.box for region in one.regions], made.boxes, atol=1.01)


def test_scenes_are_a_source_and_their_masks_fit(tmp_path: Path) -> None:
    described, rows = make(tmp_path / "out", "scenes:2000000+3@128", per_shard=2)
    assert [row["source"] for row in rows] == [f"scene_0200000{number}" for number in range(3)]
    found = list[float]()
    for number, one in enumerate(described):
        made = compose(2_000_000 + number, 128)
        assert (open_picture(one.picture).pixels == made.pixels).all()
        texts = {region.text for region in one.regions}
        assert {thing.name for thing in made.things} <= texts
        assert {f"{thing.colour} {thing.name}" for thing in made.things if thing.colour} <= texts
        relations = {(one.text, tuple(made.boxes[one.target].tolist())) for one in made.expressions}
        for region in one.regions:
            if region.text.startswith("the "):
                assert (region.text, region.box) in relations
            mask = decode_masks([rle_from_json(region.mask)])
            found.append(float(box_iou(mask_bounds(mask), np.array([region.box]))[0, 0]))
    assert np.mean(found) > 0.7


def test_broken_members_are_reported_and_stop_nothing(
    grit_members: list[tuple[str, bytes]], write_shard: Write, tmp_path: Path
) -> None:
    (picture_name, picture), (json_name, record) = grit_members[:2]
    odd = json.loads(record)
    odd["ref_exps"][0][4] = odd["ref_exps"][0][2]
    none = {"caption": "nothing", "ref_exps": []}
    members = [
        ("a.jpg", picture[: len(picture) // 2]), ("a.json", record),
        ("b.jpg", picture), ("b.json", b"{"),
        ("c.jpg", picture),
        ("d.json", record),
        ("e.jpg", picture), ("e.json", json.dumps(odd).encode()),
        ("f.jpg", picture), ("f.json", json.dumps(none).encode()),
        ("../g.jpg", picture),
        (picture_name, picture), (json_name, record),
    ]  # fmt: skip
    described, rows = make(tmp_path / "out", str(write_shard(tmp_path / "s.tar", members)))
    status = {row["source"]: (row["status"], row.get("reason", "")) for row in rows}
    assert {source: found for source, (found, _) in status.items()} == {
        "a": "failed", "b": "failed", "c": "failed", "d": "failed", "e": "ok", "f": "skipped", "../g.jpg": "failed",
        "2000000": "ok",
    }  # fmt: skip
    for source, word in {"a": "picture", "b": "record", "c": "json", "d": "picture", "../g.jpg": "refused"}.items():
        assert word in status[source][1]
    (noted,) = [row for row in rows if row["source"] == "e"]
    assert noted["left_out"][0].startswith("phrase 0: its box")
    assert [one.key for one in described] == ["000000-e", "000000-2000000"]
    assert len(described[0].regions) == len(described[1].regions) - 1

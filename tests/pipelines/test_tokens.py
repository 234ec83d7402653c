"""Tokens of regions: the right ones, whole whatever happens, and each once."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPModel
from typer.testing import CliRunner, Result

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.backbones.models import Models
from fovea.backbones.region_spot import ClipPlaces
from fovea.backbones.sources import MINIS
from fovea.cache import FeatureCache
from fovea.cli import data as data_commands
from fovea.datasets.boxed_pictures import AnnotatedBoxes, BoxedPicture, BoxedPictures, SceneBoxes
from fovea.datasets.region_tokens import TokenShards, read_rows, shard_path
from fovea.errors import DataError, PictureError
from fovea.networks.sam import TokenKind
from fovea.pipelines import tokens
from fovea.pipelines.tokens import TokenRun, TokenSettings
from fovea.scenes.scene import compose

SOURCE = SceneBoxes(2_100_000, 5, 128)
SETTINGS = TokenSettings(clip_size=64, per_shard=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes in three shards. Not to be written to."""
    path = tmp_path_factory.mktemp("tokens")
    counts = TokenRun(SOURCE, SETTINGS, path).run()
    assert counts["ok"] == 5
    return path


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_tokens_are_those_of_the_models(made: Path) -> None:
    shards, models = TokenShards(made), Models("mini-vit")
    assert len(shards) == 5
    # A tower of the size asked for, whose positions were resized by hand.
    tower = CLIPModel.from_pretrained(MINIS / "mini-clip", dtype=torch.float32).eval().vision_model
    table = tower.embeddings.position_embedding.weight.detach()
    grid = table[1:].t().view(1, -1, 8, 8)
    resized = F.interpolate(grid, (4, 4), mode="bicubic", align_corners=False).flatten(2)[0].t()
    tower.embeddings.position_embedding = torch.nn.Embedding.from_pretrained(torch.cat([table[:1], resized]))
    tower.embeddings.register_buffer("position_ids", torch.arange(17)[None])
    tower.embeddings.image_size = 64
    for index, found in enumerate(shards[number] for number in range(5)):
        scene = compose(2_100_000 + index, 128)
        boxed = SOURCE.load(index)
        embedding = models.segmenter.embed(boxed.picture, FeatureCache())
        (decoded,) = models.segmenter.decode(embedding, (128, 128), boxes=scene.boxes)
        np.testing.assert_allclose(found.tokens, decoded.tokens[:, 0].numpy(), atol=1e-4)
        np.testing.assert_array_equal(found.boxes, scene.boxes)
        assert [shards.vocabulary[label] for label in found.labels] == [thing.name for thing in scene.things]
        planes = torch.from_numpy(boxed.picture.pixels.astype(np.float32)).permute(2, 0, 1)[None]
        pixels = F.interpolate(planes, (64, 64), mode="bilinear", antialias=True) / 255
        pixels = (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
        with torch.no_grad():
            wanted = tower(pixels).last_hidden_state[0]
        assert found.places.dtype == np.float16
        np.testing.assert_allclose(found.places, wanted.numpy(), atol=0.01, rtol=2e-3)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_run_ends_as_an_unbroken_one(made: Path, tmp_path: Path, stop: int) -> None:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenRun(SOURCE, SETTINGS, tmp_path).run(advance=advance)
    # A kill may also come while a shard is written.
    shard_path(tmp_path, stop // 2).with_suffix(".part").write_bytes(b"half")
    with pytest.raises(DataError, match="goes on where it stopped"):
        TokenShards(tmp_path)
    again = TokenRun(SOURCE, SETTINGS, tmp_path)
    # Nothing that is whole is made again.
    assert again.missing() == list(range((stop - 1) // 2, 3))
    again.run()
    assert files(tmp_path) == files(made)


def test_shares_are_all_units_once(made: Path, tmp_path: Path) -> None:
    runs = [TokenRun(SOURCE, SETTINGS, tmp_path, (number, 2)) for number in (1, 2)]
    assert sorted(unit for run in runs for unit in run.units) == [0, 1, 2]
    for run in runs:
        assert not (tmp_path / "index.json").exists()
        run.run()
    assert files(tmp_path) == files(made)


def test_a_folder_of_other_tokens_is_refused(made: Path) -> None:
    for source, settings, what in (
        (SceneBoxes(1, 5, 128), SETTINGS, "source"),
        (SOURCE, TokenSettings(clip_size=128, per_shard=2), "clip_size"),
        (SOURCE, TokenSettings(clip_size=64, per_shard=3), "per_shard"),
        (SOURCE, TokenSettings(clip_size=64, per_shard=2, token_kind="mlp"), "token_kind"),
    ):
        with pytest.raises(DataError, match=f"another {what}"):
            TokenRun(source, settings, made).prepare()


def test_a_dry_run_is_one_document_and_refuses_what_the_run_would(made: Path, tmp_path: Path) -> None:
    def dry(out: Path, *more: str) -> Result:
        arguments = ["tokens", "scenes:2100000+5", "--out", str(out), "--per-shard", "2", "--dry-run", "--json", *more]
        return CliRunner().invoke(data_commands.app, arguments)

    done = json.loads(dry(tmp_path / "out").stdout)
    names = len(SOURCE.vocabulary)
    assert done == {
        "directory": str(tmp_path / "out"), "units": 3, "done": 0, "pictures": 5, "left": 5, "names": names
    }  # fmt: skip
    assert not (tmp_path / "out").exists()
    before = files(made)
    refused = dry(made, "--clip-size", "128")
    assert isinstance(refused.exception, DataError)
    assert "another" in str(refused.exception)
    assert files(made) == before


def annotated(folder: Path, there: Sequence[int]) -> AnnotatedBoxes:
    """Four pictures with a box each, of which only some are in the folder."""
    folder.mkdir()
    for number in there:
        Image.new("RGB", (64, 64), (40 * number, 90, 20)).save(folder / f"{number}.png")
    pictures = [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 64} for number in range(4)]
    boxes = [{"id": n + 1, "image_id": n, "category_id": 1, "bbox": [8, 8, 30, 30], "area": 900} for n in range(4)]
    document = {"images": pictures, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "boxes.json").write_text(json.dumps(document))
    return AnnotatedBoxes.read(folder / "boxes.json")


def test_pictures_that_are_nowhere_spoil_no_output(tmp_path: Path) -> None:
    settings = TokenSettings(clip_size=32, per_shard=2)
    with pytest.raises(DataError, match=r"none of the 2 pictures .* --pictures"):
        TokenRun(annotated(tmp_path / "a", ()), settings, tmp_path / "out").run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["about.json"]
    # The same command goes on once they are there; single ones may be missing.
    counts = TokenRun(annotated(tmp_path / "b", (0, 2, 3)), settings, tmp_path / "out").run()
    assert (counts["ok"], counts["failed"]) == (3, 1)
    assert "holds no picture '1.png'" in read_rows(shard_path(tmp_path / "out", 0))[1]["reason"]


class Broken:
    """Scenes, of which one cannot be opened, one makes no sense and one is empty."""

    name, vocabulary, category_ids = "broken", SOURCE.vocabulary, SOURCE.category_ids

    def __len__(self) -> int:
        return 4

    def part(self, start: int, stop: int) -> BoxedPictures:
        return self

    def id(self, index: int) -> int:
        return 10 + index

    def load(self, index: int) -> BoxedPicture:
        if index == 0:
            raise PictureError("no picture")
        if index == 1:
            raise ZeroDivisionError("a surprise")
        boxed = SOURCE.load(index)
        return boxed if index == 3 else BoxedPicture(boxed.picture, boxed.boxes[:0], boxed.labels[:0], 2)


def test_a_broken_picture_stops_nothing(tmp_path: Path) -> None:
    counts = TokenRun(Broken(), TokenSettings(clip_size=32), tmp_path).run()
    assert (counts["ok"], counts["skipped"], counts["failed"]) == (1, 1, 2)
    rows = read_rows(shard_path(tmp_path, 0))
    assert [row["status"] for row in rows] == ["failed", "failed", "skipped", "ok"]
    assert rows[1]["reason"] == "ZeroDivisionError: a surprise"
    assert rows[2]["dropped"] == 2
    shards = TokenShards(tmp_path)
    assert [shards[0].id, len(shards)] == [13, 1]


@pytest.mark.parametrize("kind", ["prompt", "mlp"])
def test_tokens_of_another_kind(kind: TokenKind, made: Path, tmp_path: Path) -> None:
    TokenRun(SOURCE.part(0, 2), replace(SETTINGS, token_kind=kind), tmp_path).run()
    shards, usual, sam = TokenShards(tmp_path), TokenShards(made), Models("mini-vit").segmenter
    assert (shards.about["token_kind"], usual.about["token_kind"]) == (kind, "transformer")
    for index in range(2):
        boxed, cache = SOURCE.load(index), FeatureCache()
        wanted = sam.tokens(sam.embed(boxed.picture, cache), boxed.picture.size, boxes=boxed.boxes, kind=kind)
        np.testing.assert_allclose(shards[index].tokens, wanted[:, 0].numpy(), atol=1e-4)
        np.testing.assert_array_equal(shards[index].places, usual[index].places)
    # What does not say it is from before there was a choice.
    about = json.loads((tmp_path / "about.json").read_text())
    del about["token_kind"]
    (tmp_path / "about.json").write_text(json.dumps(about))
    assert TokenShards(tmp_path).about["token_kind"] == "transformer"


def test_a_resnet_with_positions(tmp_path: Path) -> None:
    TokenRun(SOURCE.part(0, 2), TokenSettings("mini", clip_size=64, positions=8), tmp_path).run()
    shards = TokenShards(tmp_path)
    assert shards.about["positions"] == 8
    places = ClipPlaces(Models("mini").clips[0], 64, positions=8)
    for index in range(2):
        wanted = places.of(SOURCE.load(index).picture, FeatureCache())[0]
        np.testing.assert_allclose(shards[index].places, wanted.numpy(), atol=0.01, rtol=2e-3)
        np.testing.assert_array_equal(shards[index].size, [128, 128])


def test_shards_can_be_sent_to_another_process(made: Path) -> None:
    shards = TokenShards(made)
    first = shards[0]
    again = pickle.loads(pickle.dumps(shards))[0]
    np.testing.assert_array_equal(first.tokens, again.tokens)
    with pytest.raises(IndexError):
        shards[5]


def test_damaged_shards_are_named(made: Path, tmp_path: Path) -> None:
    for name, data in files(made).items():
        (tmp_path / name).write_bytes(data)
    path = shard_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:100])
    shards = TokenShards(tmp_path)
    assert shards[0].id == 2_100_000
    with pytest.raises(DataError, match="000001"):
        shards[2]
    (tmp_path / "about.json").write_text(json.dumps({"vocabulary": 3}))
    with pytest.raises(DataError, match="no tokens of regions"):
        TokenShards(tmp_path)


def test_what_is_not_finite_is_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokens.Extractor.__call__

    def poisoned(self: tokens.Extractor, id_: int, boxed: BoxedPicture) -> tokens.PictureTokens:
        found = whole(self, id_, boxed)
        found.places[0, 0] = np.inf
        return found

    monkeypatch.setattr(tokens.Extractor, "__call__", poisoned)
    counts = TokenRun(SOURCE.part(0, 1), SETTINGS, tmp_path).run()
    assert counts["failed"] == 1
    assert len(TokenShards(tmp_path)) == 0

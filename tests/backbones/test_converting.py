"""Released files to directories, in the layouts that people have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, PreTrainedTokenizerFast
from typer.testing import CliRunner

from fovea.backbones.alpha_clip import load_alpha_clip
from fovea.backbones.converting import convert_checkpoint
from fovea.backbones.matching_loading import load_matching
from fovea.cache import FeatureCache
from fovea.cli import convert
from fovea.errors import CheckpointError, DataError
from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.alpha_clip_weights import read_alpha_clip
from fovea.networks.openai_clip import weights_of
from fovea.pictures import open_picture

GOLDEN = Path(__file__).parents[1] / "golden" / "alphaclip"
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RECORDED = dict(np.load(GOLDEN / "two_file_load.npz"))


def seen(directory: Path) -> np.ndarray:
    pixels = np.concatenate([RECORDED["images"], RECORDED["alpha_norm"]], axis=1)
    with torch.inference_mode():
        model = read_alpha_clip(directory)
        return np.asarray(model.get_image_features(pixel_values=torch.from_numpy(pixels)).pooler_output.numpy())


def small_tokenizer(directory: Path, words: int = 40) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {f"w{number}": number for number in range(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", model_max_length=10).save_pretrained(directory)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base as OpenAI's layout has it, with a tokenizer beside."""
    folder = tmp_path / "base"
    folder.mkdir()
    small_tokenizer(folder)
    save_file(load_file(GOLDEN / "openai_base.safetensors"), folder / "openai.safetensors")
    return folder


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A picture tower as training in parallel leaves it."""
    state = load_file(GOLDEN / "alpha_visual.safetensors")
    torch.save({f"module.visual.{key}": value for key, value in state.items()}, tmp_path / "alpha.pth")
    return tmp_path / "alpha.pth"


def test_a_picture_tower_and_the_file_of_its_base(base: Path, pickled: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "alpha"
    made = convert_checkpoint(pickled, out, str(base / "openai.safetensors"), allow_pickle=True)
    assert (made.beside, made.notes) == ((), ())
    np.testing.assert_allclose(seen(out), RECORDED["alpha_image_features"], rtol=0, atol=2e-5)
    assert json.loads((out / "config.json").read_text())["alpha"] is True
    assert [path.name for path in out.parent.iterdir()] == ["alpha"]
    assert load_alpha_clip(str(out)).encode_texts(["w1 w2"]).shape == (1, 32)


def test_a_picture_tower_and_a_directory_of_its_base(base: Path, pickled: Path, tmp_path: Path) -> None:
    convert_checkpoint(base / "openai.safetensors", tmp_path / "plane", str(base / "openai.safetensors"))
    plain, _ = CLIPModel.from_pretrained(tmp_path / "plane", output_loading_info=True)
    plain.save_pretrained(tmp_path / "hub")
    small_tokenizer(tmp_path / "hub")
    (tmp_path / "hub" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}'
    )
    convert_checkpoint(pickled, tmp_path / "out", str(tmp_path / "hub"), allow_pickle=True)
    np.testing.assert_allclose(seen(tmp_path / "out"), RECORDED["alpha_image_features"], rtol=0, atol=2e-5)
    assert load_alpha_clip(str(tmp_path / "out")).mean.tolist() == [0.5, 0.5, 0.5]


def test_a_file_without_alpha_is_converted_with_a_note(base: Path, tmp_path: Path) -> None:
    made = convert_checkpoint(base / "openai.safetensors", tmp_path / "out", str(base / "openai.safetensors"))
    assert made.notes == ("the file holds no alpha plane: the model ignores all masks",)
    np.testing.assert_allclose(seen(tmp_path / "out"), RECORDED["base_image_features"], rtol=0, atol=2e-5)


def test_albef(albef_directory: Path, tmp_path: Path) -> None:
    config = AlbefConfig(
        image_size=(32, 32), patch_size=8, vision_width=64, vision_depth=1, vision_heads=1, vision_mlp_width=32,
        vocab_size=20, max_positions=9, hidden_size=64, depth=3, num_heads=1, intermediate_size=32, fusion_layer=1,
        heat_layer=2,
    )  # fmt: skip
    torch.manual_seed(0)
    state = Albef(config).state_dict()
    torch.save({"model": {**state, "temp": torch.ones(())}, "epoch": 3}, tmp_path / "albef.pth")
    (tmp_path / "vocab.txt").write_text((albef_directory / "vocab.txt").read_text())
    made = convert_checkpoint(tmp_path / "albef.pth", tmp_path / "out", allow_pickle=True)
    assert made.kind == "ALBEF"
    texts = ["there is a red dog"]
    scores = []
    for source in (tmp_path / "albef.pth", tmp_path / "out"):
        model, cache = load_matching(str(source), allow_pickle=True), FeatureCache()
        seen = model.embed_picture(open_picture(PICTURE), cache)
        scores.append(model.match(seen, model.embed_texts(texts, cache))[0].logit)
    assert scores[0] == scores[1]


def test_mistakes_are_one_line_and_leave_nothing(base: Path, pickled: Path, tmp_path: Path) -> None:
    whole = str(base / "openai.safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    small_tokenizer(tmp_path / "words", 1000)
    save_file(load_file(GOLDEN / "openai_base.safetensors"), tmp_path / "words" / "a.safetensors")
    before = sorted(tmp_path.iterdir())
    for checkpoint, directory, named, allowed, message in (
        (pickled, "out", whole, False, "only read on request; add --pickle"),
        (pickled, "out", None, True, "no released CLIP has; name the CLIP"),
        (pickled, "out", str(GOLDEN / "model.safetensors"), True, "64 channels belong to the checkpoint"),
        (pickled, "out", str(tmp_path / "words" / "a.safetensors"), True, "knows 1000 tokens and the model 50"),
        (pickled, "out", "nobody/none", True, "not on this machine"),
        (tmp_path / "none.pth", "out", whole, True, "cannot be read"),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(checkpoint, tmp_path / directory, named, allow_pickle=allowed)
    with pytest.raises(DataError, match="is there already"):
        convert_checkpoint(pickled, tmp_path / "full", whole, allow_pickle=True)
    assert sorted(tmp_path.iterdir()) == before
    # An empty directory gives way.
    (tmp_path / "empty").mkdir()
    convert_checkpoint(pickled, tmp_path / "empty", whole, allow_pickle=True)


def test_what_is_converted_already_stays_as_it_is(alpha_directory: Path, tmp_path: Path) -> None:
    state = load_file(alpha_directory / "model.safetensors")
    found = weights_of(state)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_the_command(base: Path, pickled: Path, tmp_path: Path) -> None:
    out, runner = tmp_path / "out", CliRunner()
    app = typer.Typer()
    app.command()(convert.run)
    arguments = [str(pickled), str(out), "--base", str(base / "openai.safetensors"), "--pickle"]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"wrote {out}: Alpha-CLIP, CLIP of its own sizes, 32 px; use it with --models {out}\n"
    again = runner.invoke(app, arguments)
    assert isinstance(again.exception, DataError)

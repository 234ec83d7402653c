"""Where matching models come from, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.backbones.matching import MatchingModel
from fovea.backbones.matching_loading import load_matching
from fovea.backbones.models import Models
from fovea.backbones.sources import resolve_models
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.networks.albef import Albef, AlbefConfig
from fovea.pictures import open_picture

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dog"]


def score(model: MatchingModel) -> float:
    picture = open_picture(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    cache = FeatureCache()
    texts = model.embed_texts(["there is a red dog"], cache)
    return model.match(model.embed_picture(picture, cache), texts)[0].logit


@pytest.fixture
def released(albef_directory: Path, tmp_path: Path) -> Path:
    """A file as released: no settings, weights under ``model`` with other things, a pickle. Heads of 64 channels."""
    config = AlbefConfig(
        image_size=(32, 32), patch_size=8, vision_width=64, vision_depth=1, vision_heads=1, vision_mlp_width=32,
        vocab_size=20, max_positions=9, hidden_size=64, depth=3, num_heads=1, intermediate_size=32, fusion_layer=1,
        heat_layer=2,
    )  # fmt: skip
    torch.manual_seed(0)
    state = {key.replace("text_encoder.", "text_encoder.bert."): v for key, v in Albef(config).state_dict().items()}
    torch.save({"model": {**state, "temp": torch.ones(())}, "epoch": 29}, tmp_path / "ALBEF.pth")
    shutil.copy(albef_directory / "vocab.txt", tmp_path)
    return tmp_path / "ALBEF.pth"


def test_a_released_pickle_is_read_on_request_only(released: Path) -> None:
    with pytest.raises(CheckpointError, match="only read on request"):
        load_matching(str(released))
    model = load_matching(str(released), allow_pickle=True)
    assert model.name == "ALBEF.pth"
    assert model.layer == 2
    assert np.isfinite(score(model))


def test_the_same_weights_as_safetensors_say_the_same(released: Path) -> None:
    state = torch.load(released, weights_only=True)["model"]
    save_file(state, released.with_suffix(".safetensors"))
    assert score(load_matching(str(released.with_suffix(".safetensors")))) == score(
        load_matching(str(released), allow_pickle=True)
    )


class Payload:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pth").write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_matching("evil.pth", allow_pickle=True)
    assert not Path("ran").exists()


def test_another_picture_size_gives_another_grid(albef_directory: Path) -> None:
    model = load_matching(str(albef_directory), image_size=(64, 96))
    assert model.grid == (8, 12)
    with pytest.raises(CheckpointError, match="multiples of 8"):
        load_matching(str(albef_directory), image_size=(64, 90))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "config.json").write_text('{"model_type": "sam"}'), "is a sam model"),
        (lambda path: (path / "config.json").write_text("{"), "cannot be loaded"),
        (lambda path: (path / "model.safetensors").unlink(), "holds no safetensors"),
        (lambda path: (path / "vocab.txt").write_text("[UNK]\ndog"), r"has no \[CLS\]"),
        (lambda path: (path / "vocab.txt").write_text("\n".join(map(str, range(99)))), "knows 99 word pieces"),
    ],
)
def test_damaged_directories_are_refused(albef_directory: Path, tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "model"
    shutil.copytree(albef_directory, folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_matching(str(folder))


def test_settings_that_do_not_fit_the_weights_are_refused(albef_directory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(albef_directory, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "hidden_size": 48}))
    with pytest.raises(CheckpointError, match="another shape"):
        load_matching(str(folder))
    (folder / "config.json").write_text(json.dumps({**settings, "heat_layer": 0}))
    with pytest.raises(CheckpointError, match="layer 0 does not attend"):
        load_matching(str(folder))
    state = load_file(folder / "model.safetensors")
    state.pop("itm_head.bias")
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"lack 1 such as itm_head\.bias"):
        load_matching(str(folder))


def test_two_loads_do_not_share_a_cache(albef_directory: Path) -> None:
    assert load_matching(str(albef_directory)).key != load_matching(str(albef_directory)).key


def test_a_blip_as_transformers_saves_it(tmp_path: Path) -> None:
    """It reads its own start token in front and an end token behind."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={**sizes, "vocab_size": len(PIECES) + 2, "encoder_hidden_size": 16, "max_position_embeddings": 12},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    theirs = BlipForImageTextRetrieval(config).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(0, 0.4, generator=torch.Generator().manual_seed(parameter.numel()))
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))

    model = load_matching(str(tmp_path))
    assert model.layer == 1
    assert model.grid == (4, 4)
    picture = open_picture(np.full((32, 32, 3), 90, np.uint8))
    pixels = (torch.full((3,), 90 / 255) - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    ids = torch.tensor([[len(PIECES) + 1, PIECES.index("the"), PIECES.index("dog"), PIECES.index("[SEP]")]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=pixels[None, :, None, None].expand(1, 3, 32, 32)).itm_score
    cache = FeatureCache()
    (found,) = model.match(model.embed_picture(picture, cache), model.embed_texts(["the dog"], cache))
    assert found.logit == pytest.approx(float(expected[0, 1]), abs=1e-5)
    assert found.attention.shape == (2, 4, 4, 4)


def test_what_a_list_of_models_names(albef_directory: Path, tmp_path: Path) -> None:
    """Kinds show in configurations, in weights, or in names."""
    named = resolve_models(f"{albef_directory},some/clip,facebook/sam-vit-base,Salesforce/blip2-opt-2.7b")
    assert (named.matcher, named.clips) == (str(albef_directory), ("some/clip",))
    assert (named.sam, named.captioner) == ("facebook/sam-vit-base", "Salesforce/blip2-opt-2.7b")
    assert resolve_models("Salesforce/blip-itm-base-coco").matcher == "Salesforce/blip-itm-base-coco"
    bare = tmp_path / "ALBEF.safetensors"
    shutil.copy(albef_directory / "model.safetensors", bare)
    assert resolve_models(str(bare)).matcher == str(bare)
    shutil.copytree(albef_directory, tmp_path / "all" / "matcher")
    assert resolve_models(str(tmp_path / "all")).matcher == str(tmp_path / "all" / "matcher")
    with pytest.raises(CheckpointError, match="more than one matching model; name one"):
        resolve_models(f"{albef_directory},{bare}")
    assert resolve_models("photo").of("matcher") == ("Salesforce/blip-itm-base-coco",)


def test_models_without_a_matching_model_say_so(albef_directory: Path) -> None:
    with pytest.raises(CheckpointError, match="the models 'some/clip,sam-x' hold no matching model; name an ALBEF"):
        _ = replace_matcher(Models("some/clip,sam-x", device="cpu")).matcher
    shared = Models(str(albef_directory), device="cpu")
    assert shared.matcher is shared.matcher


def replace_matcher(models: Models) -> Models:
    models.sources = replace(models.sources, matcher="")
    return models


def test_files_that_may_run_code_are_no_models(tmp_path: Path) -> None:
    pickled = tmp_path / "RN50x16.pt"
    pickled.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickles are not read here; convert it"):
        resolve_models(str(pickled))


def test_what_is_not_named_is_said(albef_directory: Path) -> None:
    assert resolve_models(str(albef_directory)).name.endswith("openai/clip-vit-base-patch32, facebook/sam-vit-base")
    assert resolve_models("some/clip,facebook/sam-vit-huge").name == "some/clip,facebook/sam-vit-huge"

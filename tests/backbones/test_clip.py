"""Any CLIP from a directory: small random checkpoints in the real layouts."""

from __future__ import annotations

import json
import logging
import shutil
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip.processing_siglip import SiglipProcessor

from fovea.backbones.clip import CLIP_MEAN, load_clip
from fovea.backbones.sources import PRESETS, fingerprint, not_loaded, resolve_models
from fovea.errors import CheckpointError, ExpressionError
from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
TEXTS = ["a photo of the car", "the red dog on the left", "car"]


def tower(**more: int) -> dict[str, int]:
    return {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, **more}


@pytest.fixture(scope="module", params=["clip", "siglip", "resnet"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    words = len(tokenizer)
    text = tower(vocab_size=words, max_position_embeddings=CONTEXT_LENGTH)
    if request.param == "clip":
        text |= {"eos_token_id": words - 1, "bos_token_id": words - 2, "pad_token_id": 0}
        CLIPModel(
            CLIPConfig(text_config=text, vision_config=tower(image_size=32, patch_size=8), projection_dim=16)
        ).save_pretrained(path)
    elif request.param == "siglip":
        SiglipModel(SiglipConfig(text_config=text, vision_config=tower(image_size=32, patch_size=8))).save_pretrained(
            path
        )
        (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    else:
        config = ClipResnetConfig((1, 1), 8, 32, 16, CONTEXT_LENGTH, words, 32, 2, 2)
        (path / "config.json").write_text(json.dumps({"model_type": "clip_resnet", **asdict(config)}))
        save_file({k: v.contiguous() for k, v in ClipResnet(config).state_dict().items()}, path / "model.safetensors")
    tokenizer.save_pretrained(path)
    return path


def test_embeddings_are_unit_vectors_and_batches_are_invisible(directory: Path) -> None:
    encoder = load_clip(str(directory))
    assert encoder.image_size == 32
    pictures, texts = encoder.encode_pictures(PICTURES), encoder.encode_texts(TEXTS)
    assert pictures.shape[1] == texts.shape[1]
    for rows in (pictures, texts):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder.encode_pictures(PICTURES[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(pictures, alone, atol=1e-5)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(texts, alone, atol=1e-5)
    assert len(encoder.encode_texts([])) == 0
    assert np.abs(texts[0] - texts[1]).max() > 1e-3


def test_pixel_statistics_come_from_the_checkpoint(directory: Path) -> None:
    encoder = load_clip(str(directory))
    expected = 0.5 if (directory / "preprocessor_config.json").exists() else CLIP_MEAN[0]
    assert encoder.mean[0] == pytest.approx(expected)
    pixels = (PICTURES.astype(np.float32) / 255 - encoder.mean) / encoder.std
    np.testing.assert_allclose(
        encoder.encode_pictures(PICTURES), encoder.encode_pixels(pixels.transpose(0, 3, 1, 2).copy()), atol=1e-5
    )


def test_unknown_words_are_named(directory: Path) -> None:
    assert load_clip(str(directory)).unknown_words("the red zyzzyva of the car") == ["zyzzyva"]


def test_long_texts_are_one_clear_error(directory: Path) -> None:
    with pytest.raises(ExpressionError, match="reads at most 24 tokens and this text is longer: 'car car"):
        load_clip(str(directory)).encode_texts(["a photo of the incomprehensibilities", "car " * 24, "dog"])


def test_texts_that_no_user_wrote_are_shortened(directory: Path) -> None:
    encoder = load_clip(str(directory))
    assert encoder.shortened("the  red car ") == "the red car"
    short = encoder.shortened("the " + "car " * 40)
    assert short.startswith("the car car")
    encoder.encode_texts([short])
    with pytest.raises(ExpressionError):
        encoder.encode_texts([short + " car"])


def test_a_tokenizer_that_states_no_length(directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(directory, tmp_path / "copy")
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_clip(str(copy)).context_length == CONTEXT_LENGTH


def test_many_texts_go_in_chunks(directory: Path) -> None:
    encoder, sizes = load_clip(str(directory)), []
    texts = encoder._towers.texts
    encoder._towers.texts = lambda tokens: sizes.append(len(tokens["input_ids"])) or texts(tokens)  # type: ignore[method-assign, func-returns-value]
    many = [f"the {word} {place}" for word in ("red car", "dog") for place in ["on the left"] * 170]
    rows = encoder.encode_texts(many)
    assert sum(sizes) == len(rows) == 340
    assert max(sizes) <= 256
    np.testing.assert_allclose(rows, encoder.encode_texts([many[0], many[-1]]).repeat(170, 0), atol=1e-5)


def test_pictures_are_normalised_in_chunks(directory: Path) -> None:
    """As float32 they need four times their memory."""
    encoder = load_clip(str(directory))
    encoder._towers.pictures = lambda pixels: pixels.flatten(1)[:, :4].clone()  # type: ignore[method-assign]
    pictures = np.ones((1000, 32, 32, 3), np.uint8)
    tracemalloc.start()
    try:
        assert encoder.encode_pictures(pictures).shape == (1000, 4)
        assert tracemalloc.get_traced_memory()[1] < pictures.nbytes
    finally:
        tracemalloc.stop()


def test_no_two_loads_share_a_key(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is freed leaves its id to the next."""
    monkeypatch.setattr("fovea.backbones.clip.id", lambda _: 7, raising=False)
    assert load_clip(str(directory)).key != load_clip(str(directory)).key


def test_what_transformers_5_writes_is_read(directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "siglip" not in directory.name:
        pytest.skip("one layout is enough")
    copy = shutil.copytree(directory, tmp_path / "copy")
    (copy / "preprocessor_config.json").unlink()
    with caplog.at_level(logging.WARNING, "fovea"):
        assert load_clip(str(copy)).mean[0] == pytest.approx(CLIP_MEAN[0])
    assert [record.getMessage() for record in caplog.records] == [
        f"{copy} does not say how pixels are normalised: CLIP's mean and deviation are used"
    ]
    processor = SiglipImageProcessorPil(image_mean=[0.25] * 3, image_std=[0.75] * 3)
    SiglipProcessor(processor, build_tokenizer()).save_pretrained(copy)
    assert not (copy / "preprocessor_config.json").exists()
    caplog.clear()
    encoder = load_clip(str(copy))
    assert (encoder.mean.tolist(), encoder.std.tolist()) == ([0.25] * 3, [0.75] * 3)
    assert not caplog.records


def test_needless_weights_are_reported(directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "resnet" in directory.name:
        pytest.skip("our own layout has exactly its weights")
    copy = shutil.copytree(directory, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    save_file({**state, "odd.weight": torch.zeros(2)}, copy / "model.safetensors", {"format": "pt"})
    load_clip(str(copy))
    assert f"{copy} holds 1 weights that are not used, such as odd.weight" in caplog.messages


def test_other_dtypes(directory: Path) -> None:
    half = load_clip(str(directory), dtype=torch.bfloat16).encode_pictures(PICTURES)
    full = load_clip(str(directory)).encode_pictures(PICTURES)
    assert half.dtype == np.float32
    assert (half * full).sum(1).min() > 0.98


@pytest.mark.parametrize("damage", ["no weights", "truncated", "incomplete", "no config", "missing"])
def test_damaged_directories_are_one_clear_error(directory: Path, tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(directory, broken)
    weights = broken / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "incomplete":
        state = load_file(weights)
        state.pop(next(key for key in state if "proj" in key))
        save_file(state, weights, metadata={"format": "pt"})
    elif damage == "no config":
        (broken / "config.json").unlink()
    else:
        shutil.rmtree(broken)
    with pytest.raises(CheckpointError) as caught:
        load_clip(str(broken))
    assert "\n" not in str(caught.value)


def test_names_of_models(tmp_path: Path) -> None:
    assert resolve_models("photo") is PRESETS["photo"]
    both = tmp_path / "both"
    (both / "clip").mkdir(parents=True)
    (both / "sam").mkdir()
    found = resolve_models(str(both))
    assert (found.clips, found.sam) == ((str(both / "clip"),), str(both / "sam"))
    found = resolve_models("openai/clip-vit-base-patch16, facebook/sam-vit-large")
    assert (found.clips, found.sam) == (("openai/clip-vit-base-patch16",), "facebook/sam-vit-large")
    assert resolve_models("google/siglip-base").sam == PRESETS["photo-small"].sam
    with pytest.raises(CheckpointError, match="more than one"):
        resolve_models("facebook/sam-vit-base,facebook/sam-vit-huge")


@pytest.mark.parametrize("models", ["", " ", ","])
def test_no_model_is_no_preset(models: str) -> None:
    with pytest.raises(CheckpointError, match="names no model; known are mini"):
        resolve_models(models)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError("404: there is no such repository\nmore"),
            "not to be had from the model hub: 404: there is no such r",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "the model a/b cannot be loaded: CUDA out of memory"),
        (MemoryError(), "the model a/b cannot be loaded: MemoryError"),
    ],
)
def test_the_reason_is_kept(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert message in str(not_loaded("a/b", error))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", fail)
    with pytest.raises(CheckpointError) as caught:
        load_clip("a/b")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fingerprints_tell_weights_and_not_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
    (second / "README.md").write_text("says nothing")
    assert fingerprint(str(first)) == fingerprint(str(second))
    (second / "model.safetensors").write_bytes(b"Weights")
    assert fingerprint(str(first)) != fingerprint(str(second))
    # A hub model is told by the revision that the cache keeps it under.
    monkeypatch.setattr("transformers.utils.cached_file", lambda *_: "/cache/models--a--b/snapshots/3f2c/config.json")
    assert fingerprint("a/b") == "3f2c"


def test_only_siglip_reads_padding(directory: Path) -> None:
    """Short texts cost little where padding changes nothing; SigLIP was trained with all of it."""
    encoder, lengths = load_clip(str(directory)), []
    texts = encoder._towers.texts
    encoder._towers.texts = lambda tokens: lengths.append(tokens["input_ids"].shape[1]) or texts(tokens)  # type: ignore[method-assign, func-returns-value]
    encoder.encode_texts(["car"])
    assert lengths == [CONTEXT_LENGTH if "siglip" in directory.name else 3]

"""Any CLIP from a directory: small random checkpoints in the real layouts."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from fovea.backbones.clip import CLIP_MEAN, load_clip
from fovea.backbones.sources import PRESETS, resolve_models
from fovea.errors import CheckpointError
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
    with pytest.raises(CheckpointError, match="reads at most 24 tokens"):
        load_clip(str(directory)).encode_texts(["car " * 40])


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


def test_only_siglip_reads_padding(directory: Path) -> None:
    """Short texts cost little where padding changes nothing; SigLIP was trained with all of it."""
    encoder, lengths = load_clip(str(directory)), []
    texts = encoder._towers.texts
    encoder._towers.texts = lambda tokens: lengths.append(tokens["input_ids"].shape[1]) or texts(tokens)  # type: ignore[method-assign, func-returns-value]
    encoder.encode_texts(["car"])
    assert lengths == [CONTEXT_LENGTH if "siglip" in directory.name else 3]

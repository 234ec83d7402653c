"""CLIP-ResNets in the layouts of their makers: the golden model written as open_clip and OpenAI write theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fovea.backbones.clip import load_clip
from fovea.backbones.clip_resnet import ResnetFiles, find_resnet, load_clip_resnet
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.errors import CheckpointError
from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig
from fovea.training.vocabulary import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "clip_resnet"
STATE = load_file(GOLDEN / "model.safetensors")
IO = {
    key: value.float() if value.is_floating_point() else value
    for key, value in load_file(GOLDEN / "io.safetensors").items()
}
SIZES = json.loads((GOLDEN / "config.json").read_text())
RESNET = {"layers": SIZES["layers"], "width": SIZES["width"], "image_size": SIZES["image_size"]}


def open_clip(directory: Path, quick_gelu: bool = True, **model: object) -> Path:
    described = {"vision_cfg": RESNET, "text_cfg": {"heads": SIZES["text_heads"]}, "quick_gelu": quick_gelu, **model}
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    directory.mkdir(exist_ok=True)
    (directory / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": described, "preprocess_cfg": preprocessing})
    )
    build_tokenizer().save_pretrained(directory)
    return directory


def golden_model() -> ClipResnet:
    sizes = {key: value for key, value in SIZES.items() if key != "vision_heads"}
    model = ClipResnet(ClipResnetConfig(**{**sizes, "layers": tuple(sizes["layers"])}))
    model.load_state_dict({key: value.float() for key, value in STATE.items()})
    return model.eval()


def wide_model() -> ClipResnet:
    """With a head for every 64 channels of the text tower, as all released models: bare files do not say more."""
    torch.manual_seed(0)
    golden = golden_model()
    wide = ClipResnet(replace(golden.config, text_width=128, text_heads=2)).eval()
    wide.visual.load_state_dict(golden.visual.state_dict())
    return wide


@pytest.fixture(params=["open_clip", "open_clip with a text module", "openai", "openai file"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, ClipResnet]:
    """A layout, and the model that it holds."""
    layout = request.param
    model = wide_model() if layout.startswith("openai") else golden_model()
    state = dict(model.state_dict())
    if layout.startswith("openai"):
        # What OpenAI's archives keep among their weights.
        state |= {key: torch.tensor(64) for key in ("input_resolution", "context_length", "vocab_size")}
        build_tokenizer().save_pretrained(tmp_path)
        save_file(state, tmp_path / "RN50x16.safetensors")
        return tmp_path / "RN50x16.safetensors" if layout == "openai file" else tmp_path, model
    if layout != "open_clip":
        state = {key if key.startswith(("visual", "logit")) else f"text.{key}": value for key, value in state.items()}
        state["text.attn_mask"] = torch.zeros(2, 2)
    save_file(state, open_clip(tmp_path) / "open_clip_model.safetensors")
    return tmp_path, model


def test_every_layout_gives_the_same_embeddings(written: tuple[Path, ClipResnet]) -> None:
    source, expected = written
    files = find_resnet(str(source))
    assert files is not None
    model = load_clip_resnet(files).eval()
    assert model.config == expected.config
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_image(IO["pixels"]), IO["image_features"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.encode_text(IO["ids"]), expected.encode_text(IO["ids"]))


def test_an_encoder_of_every_layout(written: tuple[Path, ClipResnet]) -> None:
    source, _ = written
    encoder = load_clip(str(source))
    described = (source / "open_clip_config.json").exists()
    assert encoder.name == (source.name if described else "RN50x16")
    assert encoder.image_size == SIZES["image_size"]
    assert encoder.mean[0] == pytest.approx(0.5 if described else 0.48145466)
    expected = torch.nn.functional.normalize(IO["image_features"], dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_pixels(IO["pixels"].numpy()), expected, atol=1e-4)


def test_weights_without_counters_load(tmp_path: Path) -> None:
    state = {key: value for key, value in STATE.items() if not key.endswith("num_batches_tracked")}
    save_file(state, open_clip(tmp_path) / "open_clip_model.safetensors")
    load_clip(str(tmp_path))


def test_the_exact_gelu_where_the_description_says_so(tmp_path: Path) -> None:
    save_file(STATE, open_clip(tmp_path, quick_gelu=False) / "open_clip_model.safetensors")
    model = load_clip_resnet(ResnetFiles(tmp_path / "open_clip_model.safetensors", tmp_path / "open_clip_config.json"))
    with torch.inference_mode():
        texts = model.encode_text(IO["ids"])
    assert (texts - IO["text_features"]).abs().max() > 1e-3
    for block in model.transformer.resblocks:
        assert isinstance(block.mlp.gelu, torch.nn.GELU)


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    state = {key: value for key, value in STATE.items() if key != "visual.conv2.weight"}
    save_file(state, open_clip(tmp_path) / "open_clip_model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of the model, such as visual\.conv2\.weight"):
        load_clip(str(tmp_path))


def test_other_open_clip_models_are_refused_in_one_line(tmp_path: Path) -> None:
    open_clip(tmp_path, vision_cfg={"layers": 12, "width": 768, "patch_size": 32, "image_size": 224})
    with pytest.raises(CheckpointError, match="no ResNet; name its transformers version"):
        load_clip(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no open_clip_model\.safetensors; pickles are not read"):
        load_clip(str(open_clip(tmp_path)))


def test_a_missing_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    save_file(wide_model().state_dict(), tmp_path / "RN50x16.safetensors")
    with pytest.raises(CheckpointError, match=r"put CLIP's tokenizer\.json, or its vocab\.json and merges\.txt"):
        load_clip(str(tmp_path))


def test_a_hub_name_of_the_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    save_file(STATE, open_clip(tmp_path / "snapshot") / "open_clip_model.safetensors")
    asked: list[str] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name) or str(tmp_path / "snapshot")
    )
    assert load_clip("timm/resnet50x16_clip.openai").image_size == SIZES["image_size"]
    assert asked == ["timm/resnet50x16_clip.openai"]
    assert find_resnet("openai/clip-vit-base-patch32") is None


def test_a_bare_file_that_leaves_its_heads_open_is_refused(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "RN50.safetensors")
    with pytest.raises(CheckpointError, match="does not say how many heads its text tower has"):
        load_clip(str(tmp_path / "RN50.safetensors"))


def test_files_are_models_with_fingerprints(tmp_path: Path) -> None:
    file = tmp_path / "RN50.safetensors"
    save_file(STATE, file)
    assert resolve_models(f"{file},some/sam").clips == (str(file),)
    before = fingerprint(str(file))
    save_file({**STATE, "logit_scale": torch.tensor(1.0)}, file)
    assert fingerprint(str(file)) != before


def test_a_tokenizer_without_settings_will_do(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    model = ClipResnet(replace(wide_model().config, vocab_size=len(tokenizer)))
    save_file(model.state_dict(), tmp_path / "RN50.safetensors")
    tokenizer.save_pretrained(tmp_path)
    whole = load_clip(str(tmp_path)).encode_texts(["the red car", "dog"])
    for path in tmp_path.glob("*.json"):
        if path.name != "tokenizer.json":
            path.unlink()
    np.testing.assert_allclose(load_clip(str(tmp_path)).encode_texts(["the red car", "dog"]), whole, atol=1e-5)

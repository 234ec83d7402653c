"""The training of the alpha plane, against recorded gradients and slow sums."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import logging
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

pytest.importorskip("accelerate")

from fovea.datasets.region_text_shards import ShardIndex
from fovea.errors import CheckpointError, DataError, MissingExtraError
from fovea.regions import encode_masks, rle_to_json
from fovea.training import loop
from fovea.training.adapters import merge_adapters
from fovea.training.alpha_objective import AlphaObjective, AlphaTower
from fovea.training.loop import train
from fovea.training.optimizers import cosine_share
from fovea.training.recipes import resolve_training
from fovea.training.region_contrast import TextCache, gathered, region_contrast, same_texts
from fovea.training.settings import AlphaSettings
from fovea.training.vocabulary import build_tokenizer, save_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "alphaclip"
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


# --- the recorded step ------------------------------------------------------------------------------------------------


def _blocks(width: int, layers: int) -> dict[str, int]:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 64}
    return sizes | {"num_hidden_layers": layers}


_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "conv1_alpha.weight": "embeddings.patch_embedding.alpha.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
    "ln_final": "final_layer_norm",
}
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def hugging_face(key: str) -> list[str]:
    """Where the released layout's weight stands inside of a tower; three places for what is fused."""
    if key in _NAMES:
        return [_NAMES[key]]
    if not key.startswith("transformer."):
        start, _, kind = key.rpartition(".")
        return [f"{_NAMES[start]}.{kind}"]
    _, _, number, rest = key.split(".", 3)
    place = f"encoder.layers.{number}"
    if rest.startswith("attn.in_proj"):
        return [f"{place}.self_attn.{part}_proj.{rest[len('attn.in_proj') + 1 :]}" for part in "qkv"]
    start, _, kind = rest.rpartition(".")
    return [f"{place}.{_PARTS[start]}.{kind}"]


@pytest.fixture
def golden() -> tuple[CLIPModel, AlphaTower]:
    """The recorded model in transformers' classes."""
    state = {key: value.float() for key, value in load_file(GOLDEN / "model.safetensors").items()}
    config = CLIPConfig(
        projection_dim=32,
        vision_config=_blocks(128, 2) | {"image_size": 32, "patch_size": 8},
        text_config=_blocks(64, 2)
        | {"vocab_size": 100, "max_position_embeddings": 16, "bos_token_id": 98, "eos_token_id": 99, "pad_token_id": 0},
    )
    clip = CLIPModel(config)
    tower = AlphaTower(clip, MEAN, STD)
    turned = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
    loaded = {"logit_scale": state.pop("logit_scale")}
    loaded |= {place: state.pop(key).t() for key, place in turned.items()}
    for key, value in state.items():
        own = "vision_model" if key.startswith("visual.") else "text_model"
        places = hugging_face(key.removeprefix("visual."))
        loaded |= {f"{own}.{place}": part for place, part in zip(places, value.chunk(len(places)), strict=True)}
    clip.load_state_dict(loaded)
    return clip, tower


def step_of(clip: CLIPModel, tower: AlphaTower) -> Tensor:
    """The loss of the recorded batch, with gradients computed."""
    arrays, step = np.load(GOLDEN / "io.npz"), np.load(GOLDEN / "train_step.npz")
    planes = np.concatenate([arrays["images"][step["image_index"]], arrays["alpha_norm"][step["alpha_index"]]], 1)
    ids = torch.from_numpy(arrays["input_ids"][step["text_index"]])
    clip.text_model.requires_grad_(False)
    texts = TextCache(lambda rows: clip.get_text_features(rows).pooler_output)(ids, torch.arange(4))
    pictures = tower.train().embed(torch.from_numpy(planes))
    pictures, texts, keys = gathered(pictures), gathered(texts), gathered(torch.arange(4))
    loss = region_contrast(pictures, texts, keys, clip.logit_scale.detach().exp(), 0.1)
    loss.backward()
    return loss.detach()


def gradient(tower: AlphaTower, key: str) -> Tensor:
    """Of a weight by its released name."""
    if key == "proj":
        weight = tower.projection.weight.grad
        assert weight is not None
        return weight.t()
    grads = [tower.vision.get_parameter(place).grad for place in hugging_face(key)]
    return torch.cat([grad for grad in grads if grad is not None])


@pytest.mark.parametrize("kind", ["trained", "zero_init"])
def test_the_loss_and_its_gradients_are_the_released_ones(kind: str, golden: tuple[CLIPModel, AlphaTower]) -> None:
    step = np.load(GOLDEN / "train_step.npz")
    clip, tower = golden
    if kind == "zero_init":
        nn.init.zeros_(tower.alpha)
    # Recorded in another order of sums.
    assert float(step_of(clip, tower)) == pytest.approx(float(step[f"{kind}_loss"]), rel=1e-5)
    for key in ("conv1_alpha.weight", "class_embedding", "proj", "ln_post.weight"):
        wanted = torch.from_numpy(step[f"{kind}_grad_{key}"])
        torch.testing.assert_close(gradient(tower, key), wanted, rtol=1e-3, atol=1e-4)
    names, norms = step[f"{kind}_gradnorm_names"], step[f"{kind}_gradnorms"]
    assert len(names) == 33
    for name, norm in zip(names, norms, strict=True):
        assert float(gradient(tower, str(name)).norm()) == pytest.approx(float(norm), rel=1e-3, abs=1e-4)


def test_gathering_lets_the_whole_gradient_through(golden: tuple[CLIPModel, AlphaTower]) -> None:
    step = np.load(GOLDEN / "train_step.npz")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        loss = step_of(*golden)
    finally:
        dist.destroy_process_group()
    assert float(loss) == pytest.approx(float(step["trained_loss"]), rel=1e-5)
    found = golden[1].alpha.grad
    torch.testing.assert_close(found, torch.from_numpy(step["trained_grad_conv1_alpha.weight"]), rtol=1e-3, atol=1e-4)
    # The released program loses half and more of it here.
    lost = torch.from_numpy(step["trained_distributed_grad_conv1_alpha.weight"])
    assert (found - lost).norm() > 0.3 * lost.norm()


def test_the_schedule_is_the_released_one() -> None:
    known = json.loads((GOLDEN / "lr_schedule.json").read_text())
    for step, alpha, rest in known["rows_step_lrAlpha_lrRest"]:
        rate = known["base_lr"] * cosine_share(step, known["steps"], known["warmup"])
        assert rate == pytest.approx(alpha, rel=1e-9, abs=1e-20)
        assert rate * known["gamma"] == pytest.approx(rest, rel=1e-9, abs=1e-20)


# --- the contrast -----------------------------------------------------------------------------------------------------


def unit(*shape: int) -> Tensor:
    return nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))), dim=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_where_all_texts_differ_the_contrast_is_the_usual_one(smoothing: float) -> None:
    pictures, texts, scale = unit(6, 8), unit(6, 8) * 1.0, torch.tensor(10.0)
    logits, right = scale * pictures @ texts.flip(0).t(), torch.arange(6)
    usual = [nn.functional.cross_entropy(each, right, label_smoothing=smoothing) for each in (logits, logits.t())]
    found = region_contrast(pictures, texts.flip(0), torch.arange(6) * 7, scale, smoothing)
    torch.testing.assert_close(found, sum(usual) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_texts_share_what_is_right(smoothing: float) -> None:
    keys = [5, -3, 5, 9, 5]
    different = unit(5, 8)
    pictures, texts = unit(5, 4, 2).flatten(1), torch.stack([different[keys.index(key)] for key in keys])
    logits = (3.0 * pictures @ texts.t()).tolist()
    total = 0.0
    for one in range(5):
        for table in (logits, [list(column) for column in zip(*logits, strict=True)]):
            below = sum(math.exp(value) for value in table[one])
            for other in range(5):
                share = (keys[one] == keys[other]) / keys.count(keys[one])
                share = (1 - smoothing) * share + smoothing / 5
                total -= share * math.log(math.exp(table[one][other]) / below) / 10
    found = region_contrast(pictures, texts, torch.tensor(keys), torch.tensor(3.0), smoothing)
    assert float(found) == pytest.approx(total, rel=1e-5)
    rows = same_texts(torch.tensor(keys))
    torch.testing.assert_close(rows.sum(1), torch.ones(5))
    torch.testing.assert_close(rows, rows.t())


def test_every_text_is_encoded_once() -> None:
    asked: list[list[int]] = []

    def encode(ids: Tensor) -> Tensor:
        asked.append(ids[:, 0].tolist())
        return ids.float() + 1

    cache = TextCache(encode, most=3)
    first = cache(torch.tensor([[1, 0], [2, 0], [1, 0]]), torch.tensor([11, 22, 11]))
    torch.testing.assert_close(first[0], first[2])
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    again = cache(torch.tensor([[2, 0], [3, 0]]), torch.tensor([22, 33]))
    torch.testing.assert_close(again[0], first[1])
    assert [sorted(each) for each in asked] == [[1, 2], [3]]
    # More than it keeps: the oldest goes, and comes back.
    cache(torch.tensor([[4, 0]]), torch.tensor([44]))
    torch.testing.assert_close(cache(torch.tensor([[1, 0]]), torch.tensor([11])), first[:1])
    assert asked[2:] == [[4], [1]]


# --- training a small CLIP --------------------------------------------------------------------------------------------


def write_data(folder: Path) -> Path:
    """Twelve pictures with a bright half each, and words for either half."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 60, (24, 24, 3)).astype(np.uint8)
        pixels[:, :12, number % 3] += 190
        mask = np.zeros((2, 24, 24), bool)
        mask[0, :, :12], mask[1, :, 12:] = True, True
        texts = [("red thing", "green thing", "blue thing")[number % 3], "black thing"]
        regions = [
            {"text": text, "mask": rle_to_json(rle), "box": [0, 0, 24, 24], "score": 1}
            for text, rle in zip(texts, encode_masks(mask), strict=True)
        ]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        (folder / f"{number}.png").write_bytes(file.getvalue())
        (folder / f"{number}.json").write_text(json.dumps({"caption": "a picture", "regions": regions}))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    return ShardIndex(write_data(tmp_path_factory.mktemp("pairs") / "data"))


@pytest.fixture(autouse=True)
def no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawing it would be most of what these tests do.
    monkeypatch.setattr(loop._Log, "picture", lambda self: None)


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights as transformers saves it. Not to be written to."""
    tokenizer = build_tokenizer()
    blocks = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    config = CLIPConfig(
        projection_dim=16, vision_config=blocks | {"image_size": 32, "patch_size": 8}, text_config=blocks | text
    )
    path = tmp_path_factory.mktemp("small-clip")
    CLIPModel(config).save_pretrained(path)
    save_tokenizer(path)
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return path


@pytest.fixture(autouse=True)
def weights_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for what writes alpha CLIPs, where that is not there."""
    name = "fovea.networks.alpha_clip_weights"
    if importlib.util.find_spec(name) is None:
        module: Any = ModuleType(name)
        module.save_alpha_clip = save
        monkeypatch.setitem(sys.modules, name, module)


def save(model: CLIPModel, directory: Path, tokenizer: Any, preprocessor: dict[str, Any]) -> None:
    key = "vision_model.embeddings.patch_embedding"
    state = {k.replace(f"{key}.alpha.", f"{key}_alpha."): v for k, v in model.state_dict().items()}
    model.save_pretrained(directory, state_dict=state)
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(settings | {"alpha": True}))
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    tokenizer.save_pretrained(directory)


SETTINGS = AlphaSettings(
    steps=6, batch_size=4, lr=1e-2, warmup=2, rest_factor=0.1, workers=0, log_every=1, average_decay=0.5
)


def objective(data: ShardIndex, clip: Path, settings: AlphaSettings = SETTINGS) -> AlphaObjective:
    made = AlphaObjective(settings, data)
    made.start_from(clip)
    return made


def batch_of(made: AlphaObjective, step: int = 0) -> dict[str, Tensor]:
    return {key: torch.as_tensor(value) for key, value in made.batches(made.settings)[step].items()}


def without_key_biases(weights: dict[str, Any]) -> dict[str, Any]:
    """Attention does not depend on them: their gradients are rounding errors, which AdamW magnifies."""
    return {key: value for key, value in weights.items() if not key.endswith("k_proj.bias")}


def test_training_starts_at_the_clip_itself(data: ShardIndex, small_clip: Path) -> None:
    made = objective(data, small_clip)
    batch = batch_of(made)
    pixels = (batch["pixels"].float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        found = made.module(batch["pixels"], batch["alpha"])
        plain = CLIPModel.from_pretrained(small_clip).get_image_features(pixels.permute(0, 3, 1, 2)).pooler_output
    torch.testing.assert_close(found, nn.functional.normalize(plain, dim=-1), atol=1e-5, rtol=1e-4)


def test_a_run_learns_and_its_model_is_a_clip_with_an_alpha_plane(
    data: ShardIndex, small_clip: Path, tmp_path: Path
) -> None:
    made = objective(data, small_clip, replace(SETTINGS, steps=24, batch_size=12, whole_share=0.0))
    before = {key: value.clone() for key, value in made.clip.state_dict().items()}
    train(made, made.settings, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.mean([row["contrast"] for row in rows[-5:]]) < 0.95 * np.mean([row["contrast"] for row in rows[:5]])
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    assert settings["alpha"] is True
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert weights["vision_model.embeddings.patch_embedding_alpha.weight"].abs().max() > 0
    assert not any("lora" in key or "base_layer" in key for key in weights)
    for key, value in weights.items():
        if key.startswith("text") or key == "logit_scale":
            torch.testing.assert_close(value.float(), before[key], atol=0, rtol=0)
        elif key in before:
            assert not torch.equal(value.float(), before[key]), key
    # Transformers' own class reads the rest of it.
    CLIPModel.from_pretrained(tmp_path / "model")


def test_the_alpha_plane_learns_faster_than_the_tower(data: ShardIndex, small_clip: Path, tmp_path: Path) -> None:
    # The first step of AdamW moves every weight by its learning rate, whatever the gradient.
    settings = replace(SETTINGS, steps=1, warmup=1, weight_decay=0.0, average_decay=0.0)
    made = objective(data, small_clip, settings)
    before = {name: p.detach().clone() for name, p in made.module.named_parameters()}
    train(made, settings, tmp_path)
    for name, now in without_key_biases(dict(made.module.named_parameters())).items():
        rate = 1e-2 if name.endswith("alpha.weight") else 1e-3
        assert float((now.detach() - before[name]).abs().max()) == pytest.approx(rate, rel=0.05), name


def test_a_killed_run_ends_where_an_unbroken_one_does(data: ShardIndex, small_clip: Path, tmp_path: Path) -> None:
    unbroken = objective(data, small_clip)
    train(unbroken, SETTINGS, tmp_path / "a")
    killed = objective(data, small_clip)
    count = iter(range(100))
    loss = killed.loss

    def stops(module: nn.Module, batch: dict[str, Tensor]) -> Any:
        if next(count) == 3:
            raise KeyboardInterrupt
        return loss(module, batch)

    killed.loss = stops  # type: ignore[method-assign]
    often = replace(SETTINGS, checkpoint_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(killed, often, tmp_path / "b")
    resumed = objective(data, small_clip)
    train(resumed, often, tmp_path / "b")
    for key, value in without_key_biases(unbroken.module.state_dict()).items():
        torch.testing.assert_close(resumed.module.state_dict()[key], value, atol=1e-5, rtol=1e-4)
    batch = batch_of(unbroken)
    first, second = (each.module(batch["pixels"], batch["alpha"]) for each in (unbroken, resumed))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("keep", [0.0, 2.0])
def test_all_that_is_trained_gets_a_gradient(keep: float, data: ShardIndex, small_clip: Path) -> None:
    # Training by several processes stops at the second step where a weight gets none.
    made = objective(data, small_clip, replace(SETTINGS, keep=keep, whole_share=0.5))
    made.loss(made.module, batch_of(made))[0].backward()
    assert [name for name, p in made.module.named_parameters() if p.grad is None] == []
    assert not any(p.requires_grad for p in made.clip.text_model.parameters())


def test_whole_pictures_are_kept_where_they_were(data: ShardIndex, small_clip: Path) -> None:
    made = objective(data, small_clip, replace(SETTINGS, keep=3.0, whole_share=0.5))
    batch = batch_of(made) | {"whole": torch.tensor([True, False, True, False])}
    assert made.loss(made.module, batch)[1]["moved"] == pytest.approx(0, abs=1e-6)
    before = made.module(batch["pixels"], batch["alpha"]).detach()
    nn.init.normal_(made.module.alpha, std=0.5)
    now = made.module(batch["pixels"], batch["alpha"]).detach()
    loss, parts = made.loss(made.module, batch)
    assert parts["moved"] == pytest.approx(float(1 - (now * before).sum(1)[[0, 2]].mean()), abs=1e-5)
    assert float(loss.detach()) == pytest.approx(parts["contrast"] + 3 * parts["moved"], rel=1e-5)
    assert made.loss(made.module, batch | {"whole": torch.zeros(4, dtype=torch.bool)})[1]["moved"] == 0


def test_adapters_merge_into_what_they_did(data: ShardIndex, small_clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    settings = replace(SETTINGS, lora_rank=4, average_decay=0.0, rest_factor=1.0)
    made = objective(data, small_clip, settings)
    names = {
        name.split(".lora_")[0] for name, p in made.module.named_parameters() if "lora_" in name and p.requires_grad
    }
    layer = "vision.encoder.layers.0."
    parts = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
    assert names == {layer + part for part in parts}
    trained = [name for name, p in made.module.named_parameters() if p.requires_grad and "lora_" not in name]
    assert trained == ["vision.embeddings.patch_embedding.alpha.weight"]
    original = copy.deepcopy(made.module.vision.encoder.layers[0].mlp.fc1.get_base_layer().weight)
    train(made, settings, tmp_path)
    batch = batch_of(made)
    made.module.eval()
    with torch.no_grad():
        wanted = made.module(batch["pixels"], batch["alpha"])
    fc1: Any = made.module.vision.encoder.layers[0].mlp.fc1
    torch.testing.assert_close(fc1.get_base_layer().weight, original)
    a, b = fc1.lora_A["default"].weight, fc1.lora_B["default"].weight
    merged = copy.deepcopy(made.module)
    merge_adapters(merged)
    # The released rule: the product over the rank.
    torch.testing.assert_close(merged.vision.encoder.layers[0].mlp.fc1.weight, original + b @ a / 4)
    assert set(merged.state_dict()) == set(objective(data, small_clip).module.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(merged(batch["pixels"], batch["alpha"]), wanted, atol=1e-5, rtol=1e-4)
    # And it is the merged one that is written.
    weights = load_file(tmp_path / "model" / "model.safetensors")
    key = "encoder.layers.0.mlp.fc1.weight"
    torch.testing.assert_close(weights[f"vision_model.{key}"], merged.vision.get_parameter(key).detach())
    assert made.module.vision.encoder.layers[0].mlp.fc1 is fc1


def test_adapters_need_peft(data: ShardIndex, small_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="lora"):
        objective(data, small_clip, replace(SETTINGS, lora_rank=4))


# --- by name ----------------------------------------------------------------------------------------------------------


def test_trainings_by_name_say_what_they_need(data: ShardIndex, small_clip: Path, tmp_path: Path) -> None:
    alpha, mini = resolve_training("alpha-clip"), resolve_training("mini-alpha-clip")
    with pytest.raises(DataError, match="with --data"):
        alpha.describe(tmp_path, small_clip)
    with pytest.raises(CheckpointError, match="with --from"):
        alpha.run(tmp_path, data=data.directory)
    with pytest.raises(DataError, match="leave --data out"):
        resolve_training("mini-sam").describe(tmp_path, data=data.directory)
    said = mini.describe(tmp_path, data=data.directory)
    assert "12 pictures (12 with captions) with 24 regions" in said
    assert '"whole_share"' in said
    assert "minis/mini-clip" in said
    assert str(small_clip) in alpha.describe(tmp_path, small_clip, data.directory)


@pytest.mark.parametrize("change", [{"fit": "crop"}, {"whole_share": 1.5}, {"lora_rank": "a"}, {"keep": -1}])
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(change))
    with pytest.raises(DataError, match="no set of training settings"):
        resolve_training("alpha-clip", config)
    config.write_text('{"stops": 7}')
    with pytest.raises(DataError, match="rest_factor"):
        resolve_training("alpha-clip", config)


def test_what_is_no_clip_is_refused(data: ShardIndex, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        resolve_training("alpha-clip").run(tmp_path / "out", tmp_path / "nowhere", data.directory)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="is a bert model"):
        resolve_training("alpha-clip").run(tmp_path / "out", tmp_path, data.directory)


def test_the_mini_is_trained_by_its_name(data: ShardIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"steps": 1, "batch_size": 2, "workers": 0, "log_every": 1}')
    with caplog.at_level(logging.INFO, "fovea"):
        resolve_training("mini-alpha-clip", config).run(tmp_path / "out", data=data.directory)
    assert any("step 1/1" in message for message in caplog.messages)
    weights = load_file(tmp_path / "out" / "model" / "model.safetensors")
    # In the type of mini-clip's own file.
    assert {value.dtype for value in weights.values()} == {torch.float16}

"""RegionSpot's three models together: recorded runs, sets of regions, files, what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from fovea.backbones import region_spot_files
from fovea.backbones.clip import ClipEncoder, _HuggingFaceTowers, load_clip
from fovea.backbones.converting import convert_checkpoint
from fovea.backbones.region_spot import ClipPlaces, RegionSpotModel, load_region_spot
from fovea.backbones.region_spot_files import RegionSpotSettings, open_region_spot
from fovea.backbones.sam import SamSegmenter, load_sam
from fovea.backbones.sam_tokens import box_tokens
from fovea.backbones.sources import PRESETS, resolve_models
from fovea.backbones.text_bank import TextBank
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.language.ensembles import imagenet_templates
from fovea.networks.region_spot import Context, RegionSpotConfig
from fovea.networks.region_spot_weights import build_region_spot, needed_region_spot_weights
from fovea.networks.sam import Sam, TokenKind
from fovea.networks.sam_config import SamNetworkConfig
from fovea.pictures import Picture, open_picture
from fovea.proposers.sam_prompts import add_masks
from fovea.regions import Regions

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"
CONFIG = json.loads((GOLDEN / "e2e_config.json").read_text())
NAMES = [f"name {index}" for index in range(CONFIG["sizes"]["num_classes"])]


class RecordedIds:
    """A tokenizer that knows the recorded ids of every name in every template."""

    model_max_length = 12
    unk_token_id = None

    def __init__(self, ids: Tensor) -> None:
        self.ids = {
            template.replace("{}", name): ids[row, column].tolist()
            for row, name in enumerate(NAMES)
            for column, template in enumerate(imagenet_templates())
        }

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.ids[text] for text in texts]}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "e2e_io.safetensors")


@pytest.fixture(scope="module")
def model(recorded: dict[str, Tensor]) -> RegionSpotModel:
    state = load_file(GOLDEN / "e2e_hf_sam.safetensors")
    state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    sam = Sam(SamNetworkConfig.from_hugging_face(CONFIG["hf_sam"]))
    sam.load_state_dict(state)
    clip = CLIPModel(CLIPConfig(**CONFIG["hf_clip"]))
    clip.load_state_dict(load_file(GOLDEN / "e2e_hf_clip.safetensors"), strict=True)
    encoder = ClipEncoder(
        clip, _HuggingFaceTowers(clip), RecordedIds(recorded["in.text_ids"]), name="tiny", image_size=32,
        logit_scale=CONFIG["head"]["logit_scale"],
    )  # fmt: skip
    head = build_region_spot(needed_region_spot_weights(load_file(GOLDEN / "e2e_head_state.safetensors")))
    settings = RegionSpotSettings(head.config)
    return RegionSpotModel(
        head, ClipPlaces(encoder, 32), SamSegmenter(sam, "tiny"), TextBank(encoder), settings, "tiny"
    )


def picture_of(number: int) -> Picture:
    """Of the recorded size; what the models see of it is put into the cache."""
    height, width = CONFIG["sizes"]["raw_hw"]
    return open_picture(np.full((height, width, 3), number + 1, np.uint8))


def seen(model: RegionSpotModel, recorded: dict[str, Tensor], number: int) -> FeatureCache:
    """A cache in which a picture looks as the recorded pixels do."""
    cache, picture = FeatureCache(), picture_of(number)
    sam, encoder = model.segmenter, model.places.encoder
    embedding = recorded["mid.sam_image_embedding"][number : number + 1]
    with torch.inference_mode():
        places = model.places._tokens.places(recorded["in.clip_pixels"][number : number + 1])
    cache.get_or_compute(("sam-embedding", sam.key, picture.key), lambda: embedding)
    cache.get_or_compute(("clip-places", encoder.key, 32, True, picture.key), lambda: places)
    return cache


def boxes_of(recorded: dict[str, Tensor], number: int) -> np.ndarray:
    """In pixels of the picture, whose longer side is 56 of SAM's 64."""
    return (recorded["in.boxes_resized_frame"][number].numpy() * (56 / 64)).astype(np.float32)


def test_places_are_those_of_the_last_block(model: RegionSpotModel, recorded: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        found = model.places._tokens.places(recorded["in.clip_pixels"])
    torch.testing.assert_close(found, recorded["mid.clip_featuremap"], atol=1e-4, rtol=0)


def test_names_are_the_recorded_ones(model: RegionSpotModel, recorded: dict[str, Tensor]) -> None:
    found = model.bank.vectors(NAMES)
    np.testing.assert_allclose(found, recorded["mid.text_class_embeds"], atol=1e-5)
    mean = recorded["mid.text_raw_mean"].numpy()
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_is_the_recorded_one(model: RegionSpotModel, recorded: dict[str, Tensor], number: int) -> None:
    cache = seen(model, recorded, number)
    found = model.predict(picture_of(number), NAMES, cache, boxes=boxes_of(recorded, number))
    np.testing.assert_allclose(found.logits[:, 0], recorded["out.logits"][number], atol=2e-3)
    np.testing.assert_array_equal(found.masks, recorded["out.masks"][number].bool())
    vectors = model.vectors(picture_of(number), boxes_of(recorded, number), cache)
    logits = model.logit_scale * vectors @ model.bank.vectors(NAMES).T
    np.testing.assert_allclose(logits, recorded["out.logits"][number], atol=2e-3)


def test_every_hypothesis_of_every_prompt_is_named(model: RegionSpotModel, recorded: dict[str, Tensor]) -> None:
    cache, picture, boxes = seen(model, recorded, 0), picture_of(0), boxes_of(recorded, 0)
    found = model.predict(picture, NAMES, cache, boxes=boxes, multimask=True)
    assert found.logits.shape == (4, 3, 6)
    assert found.masks.shape == (4, 3, 42, 56)
    tokens = recorded["mid.sam_decoder_tokens_all"][0, :, 3]
    with torch.inference_mode():
        second = model.head(tokens[None], recorded["mid.clip_featuremap"][:1])[0]
    np.testing.assert_allclose(found.logits[:, 1], 100 * second.numpy() @ model.bank.vectors(NAMES).T, atol=2e-3)
    best = found.best()
    assert best.logits.shape == (4, 1, 6)
    np.testing.assert_array_equal(best.quality[:, 0], found.quality.max(1))
    at_points = model.predict(picture, NAMES, cache, points=np.array([[5, 6], [30, 20]], np.float32))
    assert at_points.logits.shape == (2, 1, 6)


@pytest.mark.parametrize("context", ["set", "single"])
def test_a_region_depends_on_its_set_unless_it_is_single(
    model: RegionSpotModel, recorded: dict[str, Tensor], context: Context
) -> None:
    cache, picture, boxes = seen(model, recorded, 0), picture_of(0), boxes_of(recorded, 0)
    all_of_them = model.vectors(picture, boxes, cache, context)
    alone = np.concatenate([model.vectors(picture, boxes[[row]], cache, context) for row in range(4)])
    assert np.allclose(all_of_them, alone, atol=1e-5) == (context == "single")
    turned = model.vectors(picture, boxes[::-1].copy(), cache, context)
    np.testing.assert_allclose(turned[::-1], all_of_them, atol=1e-5)
    assert model.vectors(picture, boxes[:0], cache, context).shape == (0, 24)


def test_looks_leave_the_class_token_out(model: RegionSpotModel, recorded: dict[str, Tensor]) -> None:
    looks = model.looks(picture_of(0), boxes_of(recorded, 0), seen(model, recorded, 0))
    assert looks.shape == (4, 4, 4)
    assert ((looks.sum((1, 2)) < 1) & (looks.sum((1, 2)) > 0)).all()


def test_masks_bring_tokens_and_names_make_no_masks(
    model: RegionSpotModel, recorded: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, picture, boxes = seen(model, recorded, 0), picture_of(0), boxes_of(recorded, 0)
    alone = box_tokens(model.segmenter, picture, boxes, seen(model, recorded, 0))
    network = model.segmenter._model
    add_masks(picture, Regions(boxes, picture.size), model.segmenter, cache)
    monkeypatch.setattr(network, "_look", lambda *_: pytest.fail("SAM looks again"))
    torch.testing.assert_close(box_tokens(model.segmenter, picture, boxes, cache), alone, atol=1e-5, rtol=0)
    monkeypatch.undo()
    monkeypatch.setattr(network.mask_decoder, "masks", lambda *_: pytest.fail("masks are made"))
    model.vectors(picture, boxes, seen(model, recorded, 0))


def test_many_boxes_pass_sam_in_batches_and_the_head_together(model: RegionSpotModel) -> None:
    rng = np.random.default_rng(0)
    picture = open_picture(rng.integers(0, 256, (42, 56, 3), dtype=np.uint8))
    corners = rng.uniform(0, 20, (130, 2))
    boxes = np.hstack([corners, corners + rng.uniform(4, 20, (130, 2))]).astype(np.float32)
    cache = FeatureCache()
    tokens = torch.cat([box_tokens(model.segmenter, picture, boxes[[row]], cache) for row in range(130)])
    torch.testing.assert_close(box_tokens(model.segmenter, picture, boxes, FeatureCache()), tokens, atol=1e-4, rtol=0)
    with torch.inference_mode():
        wanted = model.head(tokens[None], model.places.of(picture, cache))[0]
    np.testing.assert_allclose(model.vectors(picture, boxes, FeatureCache()), wanted, atol=1e-4)


def test_places_at_another_size() -> None:
    encoder = load_clip(PRESETS["mini-vit"].clips[0])
    rng = np.random.default_rng(0)
    own, larger, cache = ClipPlaces(encoder, 128), ClipPlaces(encoder, 256), FeatureCache()
    wide, square = (open_picture(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((90, 150), (256, 256)))
    assert own.of(wide, cache).shape == (1, 65, 256)
    assert larger.of(wide, cache).shape == (1, 257, 256)
    assert own.of(wide, cache) is own.of(wide, cache)
    # Pillow rounds to 8 bits; what needs no resampling is seen alike.
    for picture, tolerance in ((wide, 0.3), (square, 1e-3)):
        squashed = np.asarray(picture.image.resize((256, 256), Image.Resampling.BILINEAR))[None]
        with torch.inference_mode():
            seen = encoder._model.vision_model(encoder.tensor(squashed), interpolate_pos_encoding=True)
        torch.testing.assert_close(larger.of(picture, cache), seen.last_hidden_state, atol=tolerance, rtol=0)
    with pytest.raises(CheckpointError, match="patches of 16"):
        ClipPlaces(encoder, 100)


def test_places_of_a_resnet_and_positions_behind_them() -> None:
    encoder = load_clip(PRESETS["mini"].clips[0])
    picture = open_picture(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    cache = FeatureCache()
    bare, told = ClipPlaces(encoder, 64), ClipPlaces(encoder, 64, positions=8)
    assert (bare.grid, bare.width, told.width) == (4, 512, 520)
    with torch.inference_mode():
        seen = encoder._model.visual.stages(encoder.tensor(picture.pixels[None].copy()))[-1][0]
    tokens = bare.of(picture, cache)[0]
    torch.testing.assert_close(tokens[1:].T.reshape(512, 4, 4), seen, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens[0], seen.mean((1, 2)), atol=1e-4, rtol=1e-4)
    found = told.of(picture, cache)[0]
    torch.testing.assert_close(found[:, :512], tokens)
    assert not found[0, 512:].any()
    # Half-waves across the picture, one and eight of them, of x and then of y; x changes first.
    middles = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(found[1:5, 512] / 4, (middles * torch.pi).sin())
    torch.testing.assert_close(found[1::4, 517] / 4, (middles * 8 * torch.pi).sin())


@pytest.mark.parametrize("preset", ["mini", "mini-vit"])
def test_a_place_is_read_out_as_the_tower_does(preset: str) -> None:
    encoder = load_clip(PRESETS[preset].clips[0])
    places = ClipPlaces(encoder, 128, positions=4)
    weight, bias = places.readout()
    tokens = 3 * torch.randn(5, places.width - 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if preset == "mini":
            pool = encoder._model.visual.attnpool
            wanted, given = pool.c_proj(pool.v_proj(tokens)), tokens
        else:
            model = encoder._model
            wanted = model.visual_projection(model.vision_model.post_layernorm(tokens))
            given = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
    padded = torch.nn.functional.pad(given, (0, 4), value=9.0)
    torch.testing.assert_close(padded @ weight.T + bias, wanted, atol=1e-3, rtol=1e-3)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file as released, with things that are to be passed over."""

    def write(name: str = "head.pth", **changes: Tensor | None) -> Path:
        state = {**load_file(GOLDEN / "e2e_head_state.safetensors"), "model.sam.x": torch.zeros(1)}
        state |= {"model.clip_model.visual.x": torch.zeros(1)}
        state = {key: value for key, value in {**state, **changes}.items() if value is not None}
        if name.endswith(".safetensors"):
            save_file(state, tmp_path / name)
        else:
            torch.save({"model": state, "iteration": 7, "trainer": {"a": [1]}}, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def clip_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "tiny-clip"
    CLIPConfig(**CONFIG["hf_clip"]).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_released_files_are_converted(
    name: str, checkpoint: Callable[..., Path], clip_directory: Path, tmp_path: Path, model: RegionSpotModel
) -> None:
    out = tmp_path / "out" / "region-spot"
    made = convert_checkpoint(checkpoint(name), out, str(clip_directory), size=32, allow_pickle=True)
    assert made.beside == (str(clip_directory), "facebook/sam-vit-base")
    head, settings, called = open_region_spot(str(out))
    assert (called, settings.clip, settings.clip_size) == ("region-spot", str(clip_directory), 32)
    assert (settings.antialias, settings.templates) == (False, imagenet_templates())
    for key, value in model.head.state_dict().items():
        assert torch.equal(head.state_dict()[key], value)
    assert resolve_models(str(out)).region_spot == str(out)
    assert resolve_models(str(out.parent)).region_spot == str(out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.to_clip.bias": None}, "1 missing, such as to_clip.bias"),
        ({"model.decoder.extra": torch.zeros(1)}, "1 unknown, such as decoder.extra"),
        ({"model.to_clip.weight": None}, "no weights of RegionSpot's head"),
        ({"model.to_clip.bias": torch.zeros(3)}, r"to_clip.bias has the shape \(3,\)"),
    ],
)
def test_other_weights_are_refused(
    changes: dict[str, Tensor | None],
    message: str,
    checkpoint: Callable[..., Path],
    clip_directory: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(checkpoint("x.safetensors", **changes), tmp_path / "o", str(clip_directory), size=32)
    assert not (tmp_path / "o").exists()


def test_what_cannot_be_converted_is_said(
    checkpoint: Callable[..., Path], clip_directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="pickles are only read on request"):
        convert_checkpoint(checkpoint(), out, str(clip_directory), size=32)
    with pytest.raises(CheckpointError, match=r"tokens of 32 and texts of 24 numbers, and .*mini-clip has 256 and 256"):
        convert_checkpoint(checkpoint("x.safetensors"), out, PRESETS["mini-vit"].clips[0], size=128)
    with pytest.raises(CheckpointError, match="30 pixels"):
        convert_checkpoint(checkpoint("x.safetensors"), out, str(clip_directory), size=30)
    with pytest.raises(CheckpointError, match="does not say which CLIP"):
        convert_checkpoint(checkpoint("x.safetensors"), out, str(clip_directory))
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(CheckpointError, match="is a web page"):
        convert_checkpoint(tmp_path / "page.pth", out, str(clip_directory), size=32, allow_pickle=True)
    assert not out.exists()


def test_a_head_belongs_to_its_models(tmp_path: Path, tiny_sam_directory: Path) -> None:
    encoder, sam = load_clip(PRESETS["mini-vit"].clips[0]), load_sam(str(tiny_sam_directory))
    head = region_spot_files.RegionSpotHead(RegionSpotConfig(256, 256, 16, 1, 8, 32))

    def load(**settings: object) -> RegionSpotModel:
        known = RegionSpotSettings(head.config, **settings)  # type: ignore[arg-type]
        region_spot_files.save_region_spot(head, known, tmp_path)
        return load_region_spot(
            str(tmp_path), encoder, sam, clip=PRESETS["mini-vit"].clips[0], sam=str(tiny_sam_directory)
        )

    assert load().places.size == 128
    assert load(clip="somewhere/mini-clip", clip_size=256).places.grid == 16
    with pytest.raises(CheckpointError, match="was trained with the CLIP openai/clip-vit-large-patch14, and this one"):
        load(clip="openai/clip-vit-large-patch14")
    with pytest.raises(CheckpointError, match="was trained with the SAM facebook/sam-vit-base"):
        load(sam="facebook/sam-vit-base")
    head = region_spot_files.RegionSpotHead(RegionSpotConfig(64, 256, 16, 1, 8, 32))
    with pytest.raises(CheckpointError, match="a CLIP whose tokens have 64 numbers, and this one's have 256"):
        load()


@pytest.mark.parametrize("kind", ["prompt", "mlp"])
def test_a_head_reads_the_kind_of_tokens_that_it_was_trained_with(
    kind: TokenKind, tmp_path: Path, tiny_sam_directory: Path
) -> None:
    encoder, sam = load_clip(PRESETS["mini-vit"].clips[0]), load_sam(str(tiny_sam_directory))
    assert sam.token_width("mlp") != sam.token_width("prompt") == 16
    head = region_spot_files.RegionSpotHead(RegionSpotConfig(256, 256, sam.token_width(kind), 1, 8, 32)).eval()
    settings = RegionSpotSettings(head.config, token_kind=kind)
    region_spot_files.save_region_spot(head, settings, tmp_path)
    loaded = load_region_spot(str(tmp_path), encoder, sam)
    picture, cache = picture_of(0), FeatureCache()
    boxes = np.array([[2, 3, 30, 40], [10, 5, 50, 24]], np.float32)
    embedding = sam.embed(picture, cache)
    # Masks bring tokens of the usual kind.
    add_masks(picture, Regions(boxes, picture.size), sam, cache)
    tokens = sam.tokens(embedding, picture.size, boxes=boxes, kind=kind)[:, 0]
    with torch.inference_mode():
        wanted = head(tokens[None], loaded.places.of(picture, cache))[0]
    np.testing.assert_allclose(loaded.vectors(picture, boxes, cache), wanted, atol=1e-5)
    names = ["cat", "dog"]
    found = loaded.predict(picture, names, cache, boxes=boxes)
    logits = loaded.logit_scale * wanted.numpy() @ loaded.bank.vectors(names).T
    np.testing.assert_allclose(found.logits[:, 0], logits, atol=2e-3)
    # A head of the usual tokens does not take these.
    other = replace(settings, token_kind="transformer" if kind == "mlp" else "mlp")
    region_spot_files.save_region_spot(head, other, tmp_path)
    with pytest.raises(CheckpointError, match="a SAM whose tokens have"):
        load_region_spot(str(tmp_path), encoder, sam)


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        '{"model_type": "clip"}',
        '{"model_type": "region-spot", "head": {"clip_width": "wide"}}',
        '{"model_type": "region-spot", "head": {"clip_width": 8, "text_width": 8}, "templates": "nonsense"}',
        '{"model_type": "region-spot", "head": {"clip_width": 9, "text_width": 8}}',
        '{"model_type": "region-spot", "head": {"clip_width": 8, "text_width": 8, "places": 1}}',
        '{"model_type": "region-spot", "head": {"clip_width": 8, "text_width": 8}, "token_kind": "mask"}',
        "[1]",
    ],
)
def test_damaged_settings_are_one_clear_line(config: str, tmp_path: Path) -> None:
    save_file(load_file(GOLDEN / "e2e_head_state.safetensors"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError):
        open_region_spot(str(tmp_path))

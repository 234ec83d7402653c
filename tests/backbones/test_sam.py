"""SAM behind one class: parity with the recorded box pipeline, loading, and a tiny network's behaviour."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from fovea.backbones.sam import MaskLogits, SamSegmenter, choose, frame_size, load_sam, picture_logits, upsample
from fovea.cache import FeatureCache
from fovea.errors import CheckpointError
from fovea.networks.sam import Decoded, Sam
from fovea.networks.sam_config import SamNetworkConfig
from fovea.pictures import Picture, open_picture
from fovea.proposers.mask_filter import MaskFilter

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp"


@pytest.fixture(scope="module")
def segmenter(tiny_sam: Callable[[], Sam]) -> SamSegmenter:
    return SamSegmenter(tiny_sam(), "tiny")


@pytest.fixture(scope="module")
def picture() -> Picture:
    return open_picture(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "sam_box_pipeline.npz"))


class PictureListener(nn.Module):
    """Stands in for the picture encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.pixels: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.pixels.append(pixels)
        return pixels[:, :1]


class Listener(nn.Module):
    """Stands in for the network: keeps what it is given and answers with recorded logits."""

    def __init__(self, low_res: Tensor) -> None:
        super().__init__()
        self.config = SamNetworkConfig(image_size=128)
        self.vision_encoder = PictureListener()
        self.low_res = low_res
        self.boxes: list[Tensor] = []

    def decode(self, image: Tensor, prompts: Tensor, multimask: bool) -> Decoded:
        begin = sum(part.shape[1] for part in self.boxes)
        self.boxes.append(prompts)
        low_res = self.low_res[None, begin : begin + prompts.shape[1]]
        return Decoded(low_res, low_res[..., 0, 0], low_res[..., 0])


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_box_pipeline_matches(recorded: dict[str, np.ndarray], chunk: int) -> None:
    listener = Listener(torch.from_numpy(recorded["low_res_logits"].astype(np.float32))[:, None])
    sam = SamSegmenter(listener, "recorded")  # type: ignore[arg-type]
    picture = open_picture(GOLDEN / "image.png")
    embedding = sam.embed(picture, FeatureCache())
    batches = list(sam.decode(embedding, picture.size, boxes=recorded["boxes_xyxy"], chunk=chunk))

    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    seen = listener.vision_encoder.pixels[0][0].permute(1, 2, 0)
    height, width = recorded["sam_resized_shape"]
    assert seen.shape == (128, 128, 3)
    np.testing.assert_array_equal((seen[:height, :width] * std + mean).round(), recorded["image_sam_resized"])
    assert not seen[height:].any()
    assert not seen[:, width:].any()
    np.testing.assert_allclose(torch.cat(listener.boxes, 1)[0], recorded["area0__boxes_sam_scale"], rtol=1e-6)

    frame = torch.cat([upsample(batch.low_res, picture.size, 128) for batch in batches])[:, 0] > 0
    np.testing.assert_array_equal(frame, recorded["area0__masks"])
    mender = MaskFilter(fill_holes_below=40, drop_islands_below=40)
    np.testing.assert_array_equal([mender.mend(mask)[0] for mask in frame.numpy()], recorded["area40__masks"])


def test_masks_at_the_frame_size_are_the_frame_masks(recorded: dict[str, np.ndarray]) -> None:
    low_res = torch.from_numpy(recorded["low_res_logits"].astype(np.float32))
    masks = torch.cat(list(picture_logits(low_res, (128, 96), 128))) > 0
    np.testing.assert_array_equal(masks, recorded["area0__masks"])


@pytest.mark.parametrize(
    ("size", "expected"), [((96, 72), (128, 96)), ((333, 500), (85, 128)), ((1, 8000), (1, 128)), ((128, 5), (128, 5))]
)
def test_frame_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert frame_size(size, 128) == expected


def test_slices_are_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    low_res = torch.randn(7, 16, 16)
    whole = torch.cat(list(picture_logits(low_res, (90, 50), 64)))
    monkeypatch.setattr("fovea.backbones.sam._PIXELS", 90 * 50 * 2)
    parts = list(picture_logits(low_res, (90, 50), 64))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


def test_the_encoder_runs_once_per_picture(tiny_sam: Callable[[], Sam], picture: Picture) -> None:
    model, passes = tiny_sam(), []
    model.vision_encoder.register_forward_hook(lambda *_: passes.append(1))
    sam, cache = SamSegmenter(model, "counted"), FeatureCache()
    first = sam.embed(picture, cache)
    # Another object with the same pixels is the same picture.
    assert sam.embed(open_picture(picture.pixels.copy()), cache) is first
    assert len(passes) == 1
    assert first.shape == (1, 16, 8, 8)
    assert not first.requires_grad


@pytest.mark.parametrize("kind", ["boxes", "points"])
@pytest.mark.parametrize("multimask", [False, True])
def test_batches_are_invisible(segmenter: SamSegmenter, picture: Picture, kind: str, multimask: bool) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 25, (9, 2))
    prompts = np.hstack([corners, corners + rng.uniform(5, 20, (9, 2))]) if kind == "boxes" else corners
    embedding = segmenter.embed(picture, FeatureCache())

    def decoded(chunk: int) -> MaskLogits:
        batches = list(
            segmenter.decode(embedding, picture.size, **{kind: prompts}, multimask=multimask, chunk=chunk)  # type: ignore[arg-type]
        )
        return MaskLogits(
            *(torch.cat([getattr(one, name) for one in batches]) for name in ("low_res", "iou", "tokens"))
        )

    alone, together = decoded(1), decoded(64)
    assert together.low_res.shape == (9, 3 if multimask else 1, 32, 32)
    assert together.iou.shape == (9, 3 if multimask else 1)
    # The order of sums differs with the batch, so float32 noise remains.
    torch.testing.assert_close(alone.low_res, together.low_res, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone.iou, together.iou, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decoded(4).low_res, together.low_res, rtol=1e-4, atol=1e-4)


def test_no_prompts_give_nothing(segmenter: SamSegmenter, picture: Picture) -> None:
    embedding = segmenter.embed(picture, FeatureCache())
    assert list(segmenter.decode(embedding, picture.size, points=np.zeros((0, 2)))) == []
    assert list(segmenter.decode(embedding, picture.size, boxes=np.zeros((0, 4)))) == []


def test_choices() -> None:
    masks = torch.arange(6.0).reshape(2, 3, 1, 1)
    three = MaskLogits(masks, torch.tensor([[0.1, 0.9, 0.2], [0.7, 0.1, 0.2]]), masks[..., 0])
    chosen = {choice: choose(three, choice).low_res.flatten().tolist() for choice in ("first", "last", "best_iou")}  # type: ignore[arg-type]
    assert chosen == {"first": [0, 3], "last": [2, 5], "best_iou": [1, 3]}
    assert choose(three, "best_iou").iou.tolist() == [[pytest.approx(0.9)], [pytest.approx(0.7)]]


def test_a_directory_loads_with_the_original_epsilon(
    tiny_sam: Callable[[], Sam], tiny_sam_directory: Path, picture: Picture
) -> None:
    model = tiny_sam()
    loaded = load_sam(str(tiny_sam_directory))
    assert loaded.name == tiny_sam_directory.name
    assert loaded.image_size == 64
    norms = [module for module in loaded._model.mask_decoder.transformer.modules() if isinstance(module, nn.LayerNorm)]
    assert norms
    assert {norm.eps for norm in norms} == {1e-5}
    cache = FeatureCache()
    torch.testing.assert_close(loaded.embed(picture, cache), SamSegmenter(model, "same").embed(picture, cache))


def test_half_precision_leaves_prompts_exact(tiny_sam_directory: Path, picture: Picture) -> None:
    """In bfloat16 the prompt 33.3 would be 33.25, and 777.3 would be 776."""
    half, full = (load_sam(str(tiny_sam_directory), dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    seen: list[Tensor] = []
    decode = half._model.decode

    def listen(image: Tensor, prompts: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        seen.append(prompts)
        return decode(image, prompts, multimask)

    half._model.decode = listen  # type: ignore[method-assign]
    boxes = np.array([[1.1, 2.2, 33.3, 40.4]], np.float32)
    embedding = half.embed(picture, FeatureCache())
    assert embedding.dtype == torch.bfloat16
    found = next(half.decode(embedding, picture.size, boxes=boxes))
    np.testing.assert_allclose(seen[0][0], boxes * np.tile(np.array(frame_size((70, 50), 64)) / (70, 50), 2), rtol=1e-6)
    # The very same embedding, so that only prompts and decoder are compared.
    expected = next(full.decode(embedding, picture.size, boxes=boxes))
    torch.testing.assert_close(found.low_res, expected.low_res, rtol=0, atol=0)
    torch.testing.assert_close(found.iou, expected.iou, rtol=0, atol=0)


def test_no_two_loads_share_a_key(tiny_sam: Callable[[], Sam], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is freed leaves its id to the next."""
    monkeypatch.setattr("fovea.backbones.sam.id", lambda _: 7, raising=False)
    assert SamSegmenter(tiny_sam(), "one name").key != SamSegmenter(tiny_sam(), "one name").key


def test_a_sam_that_lacks_weights_is_refused(tiny_sam_directory: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_sam_directory, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of the model, such as mask_decoder\.iou_token\.weight"):
        load_sam(str(tmp_path))


def test_other_models_are_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    CLIPVisionModel(CLIPVisionConfig(image_size=8, patch_size=8, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a SAM"):
        load_sam(str(tmp_path))


@pytest.mark.parametrize("damage", ["no weights", "truncated", "pickle only", "bad config"])
def test_damaged_directories_are_refused(tiny_sam_directory: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(tiny_sam_directory, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    if damage == "bad config":
        (tmp_path / "config.json").write_text("{")
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:500])
    else:
        if damage == "pickle only":
            torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
        weights.unlink()
    with pytest.raises(CheckpointError) as caught:
        load_sam(str(tmp_path))
    assert "\n" not in str(caught.value)

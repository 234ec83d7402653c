"""SAM's tokens, against those that the reference implementation of RegionSpot took from the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from fovea.networks.sam import Sam, TokenKind
from fovea.networks.sam_config import SamNetworkConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"
SAM_MEAN, SAM_STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


@pytest.fixture(scope="module")
def sam() -> Sam:
    config = json.loads((GOLDEN / "e2e_config.json").read_text())["hf_sam"]
    state = load_file(GOLDEN / "e2e_hf_sam.safetensors")
    state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    built = Sam(SamNetworkConfig.from_hugging_face(config)).eval()
    built.load_state_dict(state)
    return built


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "e2e_io.safetensors")


@torch.no_grad()
def test_tokens_and_masks_are_the_recorded_ones(sam: Sam, recorded: dict[str, Tensor]) -> None:
    pixels = (recorded["in.sam_image_0_255"] - SAM_MEAN.view(3, 1, 1)) / SAM_STD.view(3, 1, 1)
    side = sam.config.image_size
    embedding = sam.vision_encoder(F.pad(pixels, (0, side - pixels.shape[-1], 0, side - pixels.shape[-2])))
    torch.testing.assert_close(embedding, recorded["mid.sam_image_embedding"], atol=1e-4, rtol=0)
    boxes = recorded["in.boxes_resized_frame"]
    found = sam.decode(embedding, boxes, multimask=False)
    torch.testing.assert_close(found.tokens[:, :, 0], recorded["mid.sam_token"], atol=1e-4, rtol=0)
    low_res, quality = recorded["mid.sam_low_res_masks"], recorded["mid.sam_iou"]
    torch.testing.assert_close(found.masks, low_res.view(found.masks.shape), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.quality, quality.view(found.quality.shape), atol=1e-4, rtol=0)
    three = sam.decode(embedding, boxes, multimask=True)
    torch.testing.assert_close(three.tokens, recorded["mid.sam_decoder_tokens_all"][:, :, 2:5], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
def test_tokens_do_not_need_masks(sam: Sam, recorded: dict[str, Tensor], multimask: bool) -> None:
    embedding, boxes = recorded["mid.sam_image_embedding"], recorded["in.boxes_resized_frame"]
    found = sam.decode(embedding, boxes, multimask)
    torch.testing.assert_close(sam.tokens(embedding, boxes, multimask), found.tokens)
    # What comes behind the hypernetwork makes the mask: its product with the picture's features.
    width = sam.config.output_channels // 8
    assert sam.tokens(embedding, boxes, multimask, "mlp").shape == (*found.quality.shape, width)
    for kind in get_args(TokenKind):
        assert sam.tokens(embedding, boxes, multimask, kind).shape[-1] == sam.token_width(kind)


@torch.no_grad()
def test_the_prompts_own_token_knows_nothing_of_the_picture(sam: Sam, recorded: dict[str, Tensor]) -> None:
    embedding, boxes = recorded["mid.sam_image_embedding"], recorded["in.boxes_resized_frame"]
    tokens = sam.tokens(embedding, boxes, False, "prompt")
    assert tokens.shape == sam.tokens(embedding, boxes, False).shape
    torch.testing.assert_close(tokens, sam.tokens(embedding * 2, boxes, False, "prompt"))
    corner = sam.tokens(embedding, boxes + torch.tensor([3.0, 0, 0, 0]), False, "prompt")
    assert (corner - tokens).abs().max() > 1e-3

"""Our SAM against transformers' SamModel with random weights, which the released checkpoints are written for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import SamConfig, SamModel

from fovea.networks.sam import Sam
from fovea.networks.sam_config import SamNetworkConfig

#: Windows that do not fit, relative positions, odd sizes; and the plain shape of mini-sam.
VISIONS: dict[str, dict[str, Any]] = {
    "released": {
        "image_size": 80,
        "patch_size": 8,
        "hidden_size": 24,
        "mlp_dim": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "output_channels": 32,
        "window_size": 4,
        "global_attn_indexes": [1],
        "use_rel_pos": True,
        "num_pos_feats": 16,
    },
    "mini": {
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "output_channels": 16,
        "window_size": 2,
        "global_attn_indexes": [],
        "use_rel_pos": False,
        "num_pos_feats": 8,
    },
}


def both(name: str) -> tuple[SamModel, Sam]:
    vision = VISIONS[name]
    width = vision["output_channels"]
    config = SamConfig(
        vision_config=vision,
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "image_embedding_size": vision["image_size"] // vision["patch_size"],
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 12,
            "layer_norm_eps": 1e-5,
        },
    )
    theirs = SamModel(config).eval()
    generator = torch.Generator().manual_seed(1)
    for weight in theirs.parameters():
        weight.data.normal_(0, 0.3, generator=generator)
    ours = Sam(SamNetworkConfig.from_hugging_face(config.to_dict())).eval()
    state = theirs.state_dict()
    shared = state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    if shared is not None:
        state["shared_image_embedding.positional_embedding"] = shared
        theirs.shared_image_embedding.positional_embedding.data.copy_(shared)
    ours.load_state_dict(state)
    return theirs, ours


@pytest.mark.parametrize("name", VISIONS)
def test_pictures_are_embedded_alike(name: str) -> None:
    theirs, ours = both(name)
    side = VISIONS[name]["image_size"]
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs.vision_encoder(pixels).last_hidden_state
        torch.testing.assert_close(ours.vision_encoder(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VISIONS)
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_prompts_are_decoded_alike(name: str, multimask: bool, kind: str) -> None:
    theirs, ours = both(name)
    side, grid = VISIONS[name]["image_size"], ours.config.grid
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, VISIONS[name]["output_channels"], grid, grid, generator=generator)
    prompts = torch.rand(2, 5, 4 if kind == "boxes" else 2, generator=generator) * side
    given = {"input_boxes": prompts} if kind == "boxes" else {"input_points": prompts[:, :, None]}
    with torch.no_grad():
        expected = theirs(image_embeddings=image, multimask_output=multimask, **given)
        found = ours.decode(image, prompts, multimask)
    torch.testing.assert_close(found.masks, expected.pred_masks, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.quality, expected.iou_scores, rtol=1e-4, atol=1e-5)


def test_relative_positions_of_another_size_are_stretched() -> None:
    """A checkpoint of one input size serves another, as in the original."""
    from fovea.networks.sam import _relative

    table = torch.arange(9.0)[:, None]
    torch.testing.assert_close(_relative(table, 5)[:, :, 0], torch.arange(5)[:, None] - torch.arange(5.0)[None] + 4)
    stretched = _relative(table, 3)[:, :, 0]
    assert stretched.shape == (3, 3)
    assert (stretched.diff(dim=0) > 0).all()


def test_what_a_configuration_leaves_out_is_sam_base() -> None:
    assert SamNetworkConfig.from_hugging_face({}) == SamNetworkConfig()
    config = SamConfig().to_dict()
    assert SamNetworkConfig.from_hugging_face(config) == SamNetworkConfig()
    wide = SamNetworkConfig.from_hugging_face(
        {"vision_config": {"hidden_size": 1280, "mlp_dim": None, "mlp_ratio": 4.0}}
    )
    assert wide.mlp_dim == 5120

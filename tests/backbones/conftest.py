"""A small matching model with random weights, as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fovea.networks.albef import Albef, AlbefConfig

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "there", "is", "a", "red", "blue", "car"]
PIECES += ["dog", "left", "of", "the", "gir", "##affe", "##s"]


def tiny_albef() -> Albef:
    """Always the same; its weights are spread so that texts, pictures and masks all matter."""
    config = AlbefConfig(
        image_size=(32, 48),
        patch_size=8,
        vision_width=16,
        vision_depth=2,
        vision_heads=2,
        vision_mlp_width=24,
        vocab_size=len(PIECES) + 2,
        max_positions=12,
        hidden_size=24,
        depth=5,
        num_heads=3,
        intermediate_size=32,
        fusion_layer=2,
        heat_layer=3,
    )
    model = Albef(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5, generator=generator)
    return model


@pytest.fixture(scope="session")
def albef_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, weights and word pieces. Not to be written to."""
    path = tmp_path_factory.mktemp("tiny-albef")
    model = tiny_albef()
    (path / "config.json").write_text(json.dumps(model.config.to_json()))
    save_file(model.state_dict(), path / "model.safetensors")
    (path / "vocab.txt").write_text("\n".join(PIECES))
    return path

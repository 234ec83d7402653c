"""Our network with the weights of a BLIP, against transformers' BlipForImageTextRetrieval with random weights.

In double precision, so that only a difference in what is computed can show.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval

from fovea.networks.albef import Albef
from fovea.networks.albef_weights import blip_config, build_albef, needed_blip_weights

CONFIG = BlipConfig(
    text_config={
        "vocab_size": 30,
        "hidden_size": 24,
        "encoder_hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "max_position_embeddings": 12,
        "bos_token_id": 28,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    },
    vision_config={
        "hidden_size": 16,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    image_text_hidden_size=8,
)

IDS = torch.tensor([[29, 5, 9, 7, 3], [29, 4, 3, 0, 0]])
MASK = IDS != 0
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)).double()
VISIBLE = torch.rand(2, 17, generator=torch.Generator().manual_seed(4)) < 0.5
VISIBLE[:, 0] = True


@pytest.fixture(scope="module")
def theirs() -> BlipForImageTextRetrieval:
    model = BlipForImageTextRetrieval(CONFIG).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Normalisations stay near 1, where gradients keep their size.
        spread = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.2
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=spread)
    # Our weights come in single precision, where these are exact.
    return model.double()


@pytest.fixture(scope="module")
def ours(theirs: BlipForImageTextRetrieval) -> Albef:
    return build_albef(blip_config(CONFIG.to_dict()), needed_blip_weights(theirs.state_dict())).double()


def backward(theirs: BlipForImageTextRetrieval, layer: int, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, attention and its gradient by a plain full backward; hooks see to the mask that the class ignores."""
    heads = [one.crossattention.self for one in theirs.text_encoder.encoder.layer]
    kept: list[Tensor] = []

    def mask(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        assert visible is not None
        hidden = (~visible)[:, None, None] * torch.finfo(torch.float32).min
        return args, {**given, "encoder_attention_mask": hidden}

    def keep(_: nn.Module, __: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        output[1].retain_grad()
        kept.append(output[1])

    hooks = [heads[layer].register_forward_hook(keep)]
    if visible is not None:
        hooks += [one.register_forward_pre_hook(mask, with_kwargs=True) for one in heads]
    try:
        output = theirs(input_ids=IDS, pixel_values=PIXELS, attention_mask=MASK.long())
    finally:
        for hook in hooks:
            hook.remove()
    output.itm_score[:, 1].sum().backward()
    assert kept[0].grad is not None
    return output.itm_score.detach(), kept[0].detach(), kept[0].grad


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("visible", [None, VISIBLE], ids=["all", "masked"])
def test_attention_and_gradient_are_those_of_a_full_backward(
    theirs: BlipForImageTextRetrieval, ours: Albef, layer: int, visible: Tensor | None
) -> None:
    logits, attention, gradient = backward(theirs, layer, visible)
    image = ours.image_keys_values(ours.encode_image(PIXELS))
    glance = ours.glance(ours.encode_text(IDS, MASK), image, layer, MASK, visible)
    torch.testing.assert_close(glance.logits, logits, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(glance.attention, attention, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(glance.gradient, gradient, atol=1e-9, rtol=1e-7)
    assert gradient.abs().max() > 1e-3


def test_the_mask_changes_the_answer(ours: Albef) -> None:
    plain, masked = ours(PIXELS, IDS, MASK), ours(PIXELS, IDS, MASK, VISIBLE)
    assert ((plain - masked).abs() > 1e-3).all()


def test_every_layer_sees_the_picture() -> None:
    config = blip_config(CONFIG.to_dict())
    assert list(config.fusion_layers) == [0, 1, 2]
    assert config.heat_layer == 2
    assert config.token_types == 0


def test_what_a_configuration_leaves_out_is_as_in_transformers() -> None:
    found, defaults = blip_config({}), blip_config(BlipConfig().to_dict())
    assert found == defaults
    assert blip_config({"text_config": {"num_attention_heads": 12}}).heat_layer == 6

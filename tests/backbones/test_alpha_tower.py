"""Captioners that look through a picture tower with an alpha plane, in the real layouts with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
)

from fovea.backbones.alpha_tower import join_tower
from fovea.backbones.captioner import LlavaCaptioner, load_captioner
from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import AlphaPatchEmbedding, add_alpha, normalised_alpha

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LEFT = torch.zeros(2, 1, 32, 32)
LEFT[..., :16] = 1


@pytest.fixture(params=["blip-2", "llava"])
def load(
    request: pytest.FixtureRequest, tiny_captioner_directory: Path, tiny_llava_directory: Path
) -> Callable[[], Any]:
    """Loads a plain captioner of transformers, always the same."""
    if request.param == "llava":
        return lambda: LlavaForConditionalGeneration.from_pretrained(tiny_llava_directory).eval()

    def load_blip() -> Any:
        model = Blip2ForConditionalGeneration.from_pretrained(tiny_captioner_directory).eval()
        generator = torch.Generator().manual_seed(4)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                # Its own weights are so small that pictures hardly matter.
                nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5, generator=generator)
        return model

    return load_blip


def picture_tokens(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What the language model is given in the place of a picture."""
    with torch.inference_mode():
        features = model.get_image_features(pixels).pooler_output
    return torch.stack([*features]) if isinstance(features, (list, tuple)) else features


def trained(embedding: AlphaPatchEmbedding) -> AlphaPatchEmbedding:
    """As if the plane had been trained."""
    nn.init.normal_(embedding.alpha.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return embedding


def with_alpha(pixels: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    return torch.cat([pixels, normalised_alpha(alpha)], dim=1)


def test_an_untrained_plane_changes_nothing(load: Callable[[], Any]) -> None:
    plain, marked = load(), load()
    add_alpha(marked)
    expected = picture_tokens(plain, PIXELS)
    for alpha in (LEFT, 1 - LEFT, torch.rand(2, 1, 32, 32)):
        torch.testing.assert_close(picture_tokens(marked, with_alpha(PIXELS, alpha)), expected)


def test_a_trained_plane_says_where_to_look_and_is_neutral_at_a_half(load: Callable[[], Any]) -> None:
    plain, marked = load(), load()
    trained(add_alpha(marked))
    expected = picture_tokens(plain, PIXELS)
    neutral = torch.full_like(LEFT, 0.5)
    torch.testing.assert_close(picture_tokens(marked, with_alpha(PIXELS, neutral)), expected, atol=1e-5, rtol=1e-5)
    left, right = (picture_tokens(marked, with_alpha(PIXELS, alpha)) for alpha in (LEFT, 1 - LEFT))
    assert not torch.allclose(left, right, atol=1e-3)
    # Pictures of three planes are meant as a whole: alpha is 1 everywhere.
    whole = picture_tokens(marked, with_alpha(PIXELS, torch.ones_like(LEFT)))
    torch.testing.assert_close(picture_tokens(marked, PIXELS), whole)


def small_clip(**changes: Any) -> CLIPModel:
    """A CLIP whose picture tower is built like that of the small LLaVA."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8, **changes}
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    torch.manual_seed(3)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=4)).eval()


def test_a_llava_takes_the_tower_of_an_alpha_clip(tiny_llava_directory: Path) -> None:
    model, clip = LlavaForConditionalGeneration.from_pretrained(tiny_llava_directory).eval(), small_clip()
    trained(add_alpha(clip))
    join_tower(model, clip)
    pixels = with_alpha(PIXELS, LEFT)
    with torch.inference_mode():
        # LLaVA reads the last but one layer, without the class token.
        hidden = clip.vision_model(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        expected = model.model.multi_modal_projector(hidden)
    torch.testing.assert_close(picture_tokens(model, pixels), expected, atol=1e-5, rtol=1e-5)


def test_a_flat_tower_and_one_with_a_plane_already_are_taken_alike(tiny_llava_directory: Path) -> None:
    clip = small_clip()
    trained(add_alpha(clip))
    flat = CLIPVisionModel(CLIPVisionConfig.from_dict(clip.config.vision_config.to_dict())).eval()
    join = [LlavaForConditionalGeneration.from_pretrained(tiny_llava_directory).eval() for _ in range(2)]
    join_tower(join[0], clip)
    add_alpha(flat)
    flat.load_state_dict(
        {name.removeprefix("vision_model."): value for name, value in clip.vision_model.state_dict().items()}
    )
    trained(add_alpha(join[1]))
    join_tower(join[1], flat)
    pixels = with_alpha(PIXELS, LEFT)
    torch.testing.assert_close(picture_tokens(join[0], pixels), picture_tokens(join[1], pixels))


def test_towers_that_do_not_fit_change_nothing(tiny_llava_directory: Path, tiny_captioner_directory: Path) -> None:
    model = LlavaForConditionalGeneration.from_pretrained(tiny_llava_directory).eval()
    before = picture_tokens(model, PIXELS)
    with pytest.raises(CheckpointError, match="no alpha plane to give"):
        join_tower(model, small_clip())
    larger = small_clip(image_size=40)
    add_alpha(larger)
    with pytest.raises(CheckpointError, match=r"position_embedding\.weight is 26 x 32 here and 17 x 32 there"):
        join_tower(model, larger)
    # BLIP-2's towers are no CLIPs: their weights mean something else.
    blip = Blip2ForConditionalGeneration.from_pretrained(tiny_captioner_directory)
    fitting = small_clip()
    add_alpha(fitting)
    with pytest.raises(CheckpointError, match="does not fit the captioner's"):
        join_tower(blip, fitting)
    with pytest.raises(CheckpointError, match="has 0 picture towers"):
        join_tower(model, nn.Linear(2, 2))
    torch.testing.assert_close(picture_tokens(model, PIXELS), before)


def test_texts_follow_alpha(tiny_llava_directory: Path) -> None:
    plain, marked = (load_captioner(str(tiny_llava_directory)) for _ in range(2))
    clip = small_clip()
    clip.vision_model.load_state_dict(plain._model.model.vision_tower.state_dict())  # type: ignore[attr-defined]
    nn.init.normal_(add_alpha(clip).alpha.weight, std=5.0, generator=torch.Generator().manual_seed(2))
    assert not marked.has_alpha
    with pytest.raises(CheckpointError, match="takes no alpha plane"):
        marked.describe(PICTURES, np.ones((3, 32, 32), np.float32))
    key = marked.key
    marked.take_tower(clip)  # type: ignore[attr-defined]
    assert marked.has_alpha
    assert marked.key != key
    assert marked.describe(PICTURES, np.full((3, 32, 32), 0.5, np.float32)) == plain.caption(PICTURES)
    left = np.repeat(LEFT[:1, 0].numpy(), 3, axis=0)
    assert marked.describe(PICTURES, left) != marked.describe(PICTURES, 1 - left)
    assert marked.caption(PICTURES) == marked.describe(PICTURES, np.ones_like(left))
    # Batching is invisible.
    assert marked.describe(PICTURES[2:], left[2:]) == marked.describe(PICTURES, left)[2:]


def test_a_llava_reads_one_token_per_place(tiny_llava_directory: Path) -> None:
    captioner = load_captioner(str(tiny_llava_directory))
    assert isinstance(captioner, LlavaCaptioner)
    assert captioner._prompt.count(captioner._model.config.image_token_id) == 16
    assert captioner._prompt[0] == captioner._tokenizer.bos_token_id
    captions = captioner.caption(PICTURES)
    assert len(captions) == 3
    assert all("<image>" not in caption for caption in captions)


def test_a_tokenizer_without_the_picture_token_is_one_clear_error(tiny_llava_directory: Path) -> None:
    captioner = load_captioner(str(tiny_llava_directory))
    tokenizer = captioner._tokenizer  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="its own picture token"):
        LlavaCaptioner(captioner._model, tokenizer, "x", "What is <image>?")  # type: ignore[attr-defined]

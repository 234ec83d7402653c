"""What several test folders share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SamConfig,
    SamModel,
)

from fovea.backbones.sam import load_sam
from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.alpha_clip import add_alpha
from fovea.networks.alpha_clip_weights import save_alpha_clip
from fovea.networks.sam import Sam
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer

_Model = TypeVar("_Model", bound=nn.Module)


def _spread(model: _Model) -> _Model:
    """The model with random matrices, always the same ones, so large that outputs follow inputs."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5, generator=generator)
    return model


def _tiny_hugging_face_sam() -> SamModel:
    """A SAM of 64 px with random weights, spread so that masks have both signs and follow their prompts."""
    config = SamConfig(
        vision_config={
            "image_size": 64,
            "patch_size": 8,
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "output_channels": 16,
            "window_size": 0,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 8,
            "image_embedding_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    return _spread(SamModel(config))


@pytest.fixture(scope="session")
def tiny_sam_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SAM as transformers saves it. Not to be written to."""
    path = tmp_path_factory.mktemp("tiny-sam")
    _tiny_hugging_face_sam().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_sam(tiny_sam_directory: Path) -> Callable[[], Sam]:
    """Loads the small SAM; always the same one."""
    return lambda: load_sam(str(tiny_sam_directory))._model


@pytest.fixture(scope="session")
def tiny_captioner_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BLIP-2 with random weights as transformers saves it. Not to be written to."""
    tokenizer = build_tokenizer()
    # An OPT ends its texts so, and the picture's token comes last.
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>", "<image>"]})
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": len(tokenizer) - 4, "eos_token_id": len(tokenizer) - 3, "pad_token_id": 0}
    config = Blip2Config(
        vision_config=tower | {"image_size": 32, "patch_size": 8},
        qformer_config=tower | {"encoder_hidden_size": 16, "vocab_size": 8},
        text_config=ids
        | {"model_type": "opt", "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "word_embed_proj_dim": 16},
        num_query_tokens=3,
        image_token_index=len(tokenizer) - 1,
    )
    path = tmp_path_factory.mktemp("tiny-captioner")
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_diffusion_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion with random weights as diffusers saves it. Not to be written to."""
    diffusers = pytest.importorskip("diffusers", reason="needs the extra 'diffusion'")
    tokenizer, path = build_tokenizer(), tmp_path_factory.mktemp("tiny-diffusion")
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length, pad_token_id=0, bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(8, 8, 8), norm_num_groups=4, cross_attention_dim=16,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4,) * 4, norm_num_groups=2,
    )  # fmt: skip
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", CLIPTextModel(text))):
        _spread(model).save_pretrained(path / name)
    tokenizer.save_pretrained(path / "tokenizer")
    diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    ).save_pretrained(path / "scheduler")
    (path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return path


@pytest.fixture(scope="session")
def tiny_llava_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LLaVA with random weights as transformers saves it. Not to be written to."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": len(tokenizer) - 3, "eos_token_id": len(tokenizer) - 2, "pad_token_id": 0}
    config = LlavaConfig(
        # The picture tower of the small CLIP with an alpha plane.
        vision_config=layers
        | {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64}
        | {"image_size": 32, "patch_size": 8},
        text_config=layers | ids | {"model_type": "llama", "vocab_size": len(tokenizer), "num_key_value_heads": 2},
        image_token_index=len(tokenizer) - 1,
    )
    path = tmp_path_factory.mktemp("tiny-llava")
    torch.manual_seed(0)
    # Random weights are so small that pictures hardly matter.
    _spread(LlavaForConditionalGeneration(config)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def alpha_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with an alpha plane, 32 px in patches of 8, that knows the scenes' words. Not to be written to."""
    tokenizer = build_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT_LENGTH, "pad_token_id": 0}
    text |= {"eos_token_id": len(tokenizer) - 1, "bos_token_id": len(tokenizer) - 2}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=sizes | {"image_size": 32, "patch_size": 8}, projection_dim=16)
    model = CLIPModel(config)
    nn.init.normal_(add_alpha(model).alpha.weight, std=0.05)
    path = tmp_path_factory.mktemp("tiny-alpha")
    save_alpha_clip(model, path, tokenizer)
    return path


#: Words and pieces of the small matching model.
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
    return _spread(Albef(config).eval())


@pytest.fixture(scope="session")
def albef_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, weights and word pieces. Not to be written to."""
    path = tmp_path_factory.mktemp("tiny-albef")
    model = tiny_albef()
    (path / "config.json").write_text(json.dumps(model.config.to_json()))
    save_file(model.state_dict(), path / "model.safetensors")
    (path / "vocab.txt").write_text("\n".join(PIECES))
    return path

"""Tiny random hosts of every type, in memory. Their tokens are single characters, so that answers can be spelt."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
)

from fovea.backbones.host import Host
from fovea.backbones.host_asking import Asking, usual_asking
from fovea.networks.flamingo import Flamingo, FlamingoConfig, VisionTokens
from fovea.networks.perceiver import AttentionSizes

#: ``llava-vit`` has a ViT for a tower and no class token, ``llava`` a CLIP and looks in front of its last layer.
KINDS = ("llava", "llava-vit", "blip-2", "instructblip", "flamingo", "idefics", "idefics2", "paligemma")

_SPECIAL = ["<pad>", "<s>", "</s>", "<image>", "<|endofchunk|>", "<fake_token_around_image>"]


def spelling_tokenizer() -> PreTrainedTokenizerFast:
    """Every character is a token, blanks too; texts begin with ``<s>``."""
    characters = [*string.ascii_letters, *string.digits, *" .,:?[]\n"]
    ids = {token: number for number, token in enumerate([*_SPECIAL, *characters])}
    # What stands for the unknown is special, and left out of answers: of all characters that nobody asks for.
    backend = Tokenizer(models.WordLevel(ids, unk_token="Z"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="Z"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL[3:]})
    return tokenizer


def _text(words: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"vocab_size": words, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {**sizes, **ids, "num_key_value_heads": 2, "max_position_embeddings": 512, **more}


def _vision(**more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    return {**sizes, "image_size": 32, "patch_size": 8, **more}


def _settings(kind: str, words: int, image: int) -> dict[str, Any]:
    opt = {"model_type": "opt", **_text(words), "ffn_dim": 48, "word_embed_proj_dim": 32}
    llama = {"model_type": "llama", **_text(words)}
    if kind in ("blip-2", "instructblip"):
        qformer = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
        qformer |= {"encoder_hidden_size": 32, "vocab_size": words}
        found = {"vision_config": _vision(), "qformer_config": qformer, "text_config": opt, "num_query_tokens": 4}
        return {**found, "image_token_index": image}
    if kind == "llava":
        tower = {"model_type": "clip_vision_model", **_vision(projection_dim=16)}
        return {"vision_config": tower, "text_config": llama, "image_token_index": image}
    if kind == "llava-vit":
        tower = {"model_type": "siglip_vision_model", **_vision(vision_use_head=False)}
        chosen = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
        return {"vision_config": tower, "text_config": llama, "image_token_index": image, **chosen}
    if kind == "paligemma":
        tower = {"model_type": "siglip_vision_model", **_vision(projection_dim=32, vision_use_head=False)}
        text = {"model_type": "gemma", **_text(words), "head_dim": 16}
        return {"vision_config": tower, "text_config": text, "image_token_index": image, "projection_dim": 32}
    perceiver: dict[str, Any] = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2}
    perceiver |= {"resampler_head_dim": 16}
    if kind == "idefics2":
        perceiver |= {"hidden_size": 32, "num_key_value_heads": 1}
        text = {"model_type": "mistral", **_text(words)}
        return {"vision_config": _vision(), "text_config": text, "perceiver_config": perceiver, "image_token_id": image}
    perceiver |= {"use_resampler": True}
    found = {"vision_config": {"embed_dim": 32, **_vision()}, "perceiver_config": perceiver, "use_resampler": True}
    return {**found, "cross_layer_interval": 1, **_text(words)}


def _model(kind: str, tokenizer: PreTrainedTokenizerFast) -> nn.Module:
    words, image = len(tokenizer), tokenizer.convert_tokens_to_ids("<image>")
    if kind == "flamingo":
        sizes = AttentionSizes(2, 16, 2)
        end = tokenizer.convert_tokens_to_ids("<|endofchunk|>")
        config = FlamingoConfig(32, image, end, depth=1, latents=4, resampler=sizes, gated=sizes)
        lm = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **_text(words)))
        return Flamingo(config, VisionTokens(CLIPVisionModel(CLIPVisionConfig(**_vision()))), lm)
    settings = _settings(kind, words, image)
    config = AutoConfig.for_model("llava" if kind == "llava-vit" else kind, **settings)
    found: nn.Module = AutoModelForImageTextToText.from_config(config)
    return found


def host_of(kind: str, asking: Asking | None = None) -> Host:
    """A host, always the same one, whose answers follow its pictures."""
    tokenizer = spelling_tokenizer()
    torch.manual_seed(5)
    model = _model(kind, tokenizer)
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if name.endswith("_gate") or "alpha_" in name:
            # Closed to begin with.
            weight.data.fill_(1)
        elif weight.ndim > 1:
            nn.init.normal_(weight, std=1.5 / weight[0].numel() ** 0.5, generator=generator)
    usual = usual_asking("llava" if kind == "llava-vit" else kind, tokenizer)
    reader = tokenizer if kind == "instructblip" else None
    return Host(model, tokenizer, asking or usual, name=kind, reader=reader)


def coloured_pictures(count: int) -> np.ndarray:
    """``(count, 32, 32, 3)`` uint8 with a few large patches of colour each: noise looks the same to every tower."""
    patches = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return patches.repeat(8, 1).repeat(8, 2)

"""Released weights of ALBEF and BLIP: what their files hold, and under which names.

Source: specs/iterprime.md, 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.albef_vision import resize_positions

# What training needed and matching does not: momentum copies, queues of negatives, the contrastive heads and the
# head of masked language modelling.
_NEEDLESS = re.compile(
    r"(\w+_m\..*)|((image|text|idx)_queue)|queue_ptr|temp|((vision|text)_proj(_m)?\..*)"
    r"|(text_encoder\.cls\..*)|(text_encoder\.embeddings\.position_ids)"
)

# Names in transformers' BlipForImageTextRetrieval that differ; the text side has the names of BERT.
_BLIP = (
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding.", "visual_encoder.patch_embed.proj."),
    ("vision_model.post_layernorm.", "visual_encoder.norm."),
    ("vision_model.encoder.layers.", "visual_encoder.blocks."),
    (".self_attn.projection.", ".attn.proj."),
    (".self_attn.qkv.", ".attn.qkv."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
)


def needed_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of the matching model among those of a released file, under our names.

    Args:
        state: what the file holds: a state dict, or one under ``model``; the text side may be wrapped in ``bert``.

    Raises:
        CheckpointError: it holds no state dict.
    """
    inner = state.get("model", state)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise CheckpointError("the file holds no state dict", "give the weights of an ALBEF")
    renamed = {key.replace("text_encoder.bert.", "text_encoder.", 1): value for key, value in inner.items()}
    return {key: value for key, value in renamed.items() if not _NEEDLESS.fullmatch(key)}


def needed_blip_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same for a BLIP in the layout of transformers' ``BlipForImageTextRetrieval``."""
    renamed = {}
    for key, value in state.items():
        name = key
        if key.startswith("vision_model."):
            for theirs, ours in _BLIP:
                name = name.replace(theirs, ours)
        renamed[name] = value
    return needed_weights(renamed)


def config_from_state(state: Mapping[str, Tensor]) -> AlbefConfig:
    """Read the sizes of a released ALBEF off its weights; a head has 64 channels and the picture is square.

    Args:
        state: of :func:`needed_weights`.

    Raises:
        CheckpointError: weights are missing that show them.
    """

    def count(prefix: str) -> int:
        return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})

    try:
        vision_width, _, patch, _ = state["visual_encoder.patch_embed.proj.weight"].shape
        vocab, hidden = state["text_encoder.embeddings.word_embeddings.weight"].shape
        side = round((state["visual_encoder.pos_embed"].shape[1] - 1) ** 0.5) * patch
        layers = "text_encoder.encoder.layer."
        depth = count(layers)
        fusion_layer = sum(f"{layers}{number}.crossattention.self.query.weight" not in state for number in range(depth))
        types = state.get("text_encoder.embeddings.token_type_embeddings.weight")
        return AlbefConfig(
            image_size=(side, side),
            patch_size=patch,
            vision_width=vision_width,
            vision_depth=count("visual_encoder.blocks."),
            vision_heads=max(1, vision_width // 64),
            vision_mlp_width=state["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
            vocab_size=vocab,
            max_positions=state["text_encoder.embeddings.position_embeddings.weight"].shape[0],
            token_types=0 if types is None else len(types),
            hidden_size=hidden,
            depth=depth,
            num_heads=max(1, hidden // 64),
            intermediate_size=state[f"{layers}0.intermediate.dense.weight"].shape[0],
            fusion_layer=fusion_layer,
            # The third of six in the released model.
            heat_layer=min(fusion_layer + 2, depth - 1),
        )
    except KeyError as error:
        raise CheckpointError(f"the weights lack {error.args[0]}", "is it an ALBEF?") from None


def blip_config(settings: Mapping[str, Any]) -> AlbefConfig:
    """Read a ``config.json`` of a BLIP; what it leaves out is as in transformers' class.

    Args:
        settings: its content.
    """
    vision = settings.get("vision_config") or {}
    text = settings.get("text_config") or {}
    side, depth = int(vision.get("image_size", 384)), int(text.get("num_hidden_layers", 12))
    return AlbefConfig(
        image_size=(side, side),
        patch_size=vision.get("patch_size", 16),
        vision_width=vision.get("hidden_size", 768),
        vision_depth=vision.get("num_hidden_layers", 12),
        vision_heads=vision.get("num_attention_heads", 12),
        vision_mlp_width=vision.get("intermediate_size", 3072),
        vision_norm_eps=vision.get("layer_norm_eps", 1e-5),
        vocab_size=text.get("vocab_size", 30524),
        max_positions=text.get("max_position_embeddings", 512),
        token_types=0,
        hidden_size=text.get("hidden_size", 768),
        depth=depth,
        num_heads=text.get("num_attention_heads", 8),
        intermediate_size=text.get("intermediate_size", 3072),
        text_norm_eps=text.get("layer_norm_eps", 1e-12),
        fusion_layer=0,
        heat_layer=min(6, depth - 1),
    )


def build_albef(config: AlbefConfig, state: Mapping[str, Tensor], image_size: tuple[int, int] | None = None) -> Albef:
    """A model with given weights, in float32, ready to answer.

    Args:
        config: sizes of the weights.
        state: of :func:`needed_weights`; every weight that the model has, and no other.
        image_size: height and width of its pictures, where they should differ from those in ``config``: position
            embeddings are stretched.

    Raises:
        CheckpointError: weights are missing, superfluous or of another shape; says how many and names one of each.
            Or the patches do not fill such a picture.
    """
    _check_weights(config, state)
    weights = {key: value.float() for key, value in state.items()}
    if image_size is not None:
        if any(side < config.patch_size or side % config.patch_size for side in image_size):
            raise CheckpointError(
                f"the model cannot read pictures of {image_size[0]} x {image_size[1]} pixels",
                f"use multiples of {config.patch_size}",
            )
        wanted = replace(config, image_size=image_size)
        positions = "visual_encoder.pos_embed"
        weights[positions] = resize_positions(weights[positions], config.grid, wanted.grid)
        config = wanted
    with torch.device("meta"):
        model = Albef(config)
    # Taken over and not copied: the files are large.
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _check_weights(config: AlbefConfig, state: Mapping[str, Tensor]) -> None:
    with torch.device("meta"):
        expected = Albef(config).state_dict()
    misshapen = {key for key in expected.keys() & state.keys() if state[key].shape != expected[key].shape}
    complaints = [
        _complaint("lack", expected.keys() - state.keys()),
        _complaint("have no use for", state.keys() - expected.keys()),
        _complaint("have another shape for", misshapen),
    ]
    if any(complaints):
        found = ", ".join(filter(None, complaints))
        raise CheckpointError(f"the weights {found}", "is it the whole model, and one of this kind and size?")


def _complaint(what: str, keys: set[str]) -> str:
    return f"{what} {len(keys)} such as {min(keys)}" if keys else ""

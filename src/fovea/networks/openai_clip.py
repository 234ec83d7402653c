"""OpenAI's names for the weights of a CLIP with a vision transformer, and how files of its descendants differ.

Alpha-CLIP's files hold the picture tower alone or both towers, with or without prefixes, with the fused projection as a
module of its own, and with adapters that were never merged (specs/alphaclip.md, 6 and 7). All become the names of
Hugging Face's ``CLIPModel``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fovea.errors import CheckpointError

#: Name of the alpha plane's patch embedding beside those of ``CLIPModel``; the community's.
ALPHA_KEY = "vision_model.embeddings.patch_embedding_alpha.weight"

# Numbers and buffers that some files keep among the weights.
_NO_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})

_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "conv1_alpha.weight": ALPHA_KEY,
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
    "proj": "visual_projection.weight",
}
_TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
# These multiply from the other side.
_TRANSPOSED = ("proj", "text_projection")
_BLOCKS = "transformer.resblocks."
_FUSED = "attn.in_proj"


def weights_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a released file, in float32 and under Hugging Face's names.

    Args:
        content: of the file: a state dict of a whole CLIP or of its picture tower, under OpenAI's or Hugging Face's
            names, maybe under ``state_dict``, with the prefixes that training in parallel leaves.

    Returns:
        The weights of both towers, or of the picture tower alone; adapters are merged.

    Raises:
        CheckpointError: it is no such file.
    """
    inner = content.get("state_dict", content)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise CheckpointError("the file holds no state dict", "save the state dict of the model")
    state = {str(key).removeprefix("module."): value for key, value in inner.items()}
    state = {key: value.float() for key, value in state.items() if _is_weight(key)}
    if any(key.startswith("vision_model.") for key in state):
        return state
    if "conv1.weight" in state:
        state = {f"visual.{key}": value for key, value in state.items()}
    if "visual.class_embedding" not in state:
        raise CheckpointError("the file holds no vision transformer of CLIP", "is it the file of an Alpha-CLIP?")
    return hugging_face_names(merged_adapters(state))


def _is_weight(key: str) -> bool:
    # Buffers that older versions of transformers saved.
    return key not in _NO_WEIGHTS and not key.endswith(".position_ids")


def merged_adapters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with their low-rank adapters added, as loralib trains them: scale 1 / rank.

    Of a fused projection the queries and the values have adapters, one behind the other, and the keys have none.

    Args:
        state: under OpenAI's names; adapters are ``lora_A`` and ``lora_B`` beside ``weight``.

    Raises:
        CheckpointError: half of an adapter is missing, or it does not fit its weight.
    """
    merged = {key: value for key, value in state.items() if not key.endswith((".lora_A", ".lora_B"))}
    modules = {key.rsplit(".", 1)[0] for key in state.keys() - merged.keys()}
    for module in sorted(modules):
        parts = [state.get(f"{module}.{name}") for name in ("weight", "lora_A", "lora_B")]
        if any(part is None for part in parts):
            raise CheckpointError(f"the adapter of {module} is not whole", "save weights and both adapter matrices")
        weight, down, up = (part for part in parts if part is not None)
        try:
            merged[f"{module}.weight"] = weight + _adapter(down, up, fused=module.endswith(_FUSED))
        except RuntimeError as error:
            raise CheckpointError(
                f"the adapter of {module} has the shapes {tuple(down.shape)} and {tuple(up.shape)}, "
                f"its weight {tuple(weight.shape)}",
                "is it loralib's?",
            ) from error
    return merged


def _adapter(down: Tensor, up: Tensor, *, fused: bool) -> Tensor:
    """What an adapter adds: ``(out, in)``."""
    rank = up.shape[1]
    if not fused:
        return up @ down / rank
    queries, values = (b @ a / rank for a, b in zip(down.chunk(2), up.chunk(2), strict=True))
    return torch.cat([queries, torch.zeros_like(queries), values])


def hugging_face_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of Hugging Face's ``CLIPModel``, which computes the same from them.

    Args:
        state: under OpenAI's names, those of the picture tower behind ``visual.``; of either tower or of both. The
            fused projection may be ``attn.in_proj.weight`` or ``attn.in_proj_weight``.

    Raises:
        CheckpointError: a name is unknown.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        vision = key.startswith("visual.")
        name = key.removeprefix("visual.")
        if name.startswith(_BLOCKS):
            renamed |= _block_names(name, value, "vision_model" if vision else "text_model")
            continue
        found = (_VISION if vision else _TEXT).get(name)
        if found is None:
            raise CheckpointError(f"the file holds a weight that no CLIP has: {key}", "is it an Alpha-CLIP?")
        renamed[found] = value.t().contiguous() if name in _TRANSPOSED else value
    return renamed


def _block_names(name: str, value: Tensor, tower: str) -> dict[str, Tensor]:
    number, rest = name.removeprefix(_BLOCKS).split(".", 1)
    layer = f"{tower}.encoder.layers.{number}."
    if rest.startswith(_FUSED):
        kind = rest.removeprefix(_FUSED).lstrip("._")
        thirds = zip("qkv", value.chunk(3), strict=True)
        return {f"{layer}self_attn.{letter}_proj.{kind}": part.contiguous() for letter, part in thirds}
    module, kind = rest.rsplit(".", 1)
    if module not in _BLOCK:
        raise CheckpointError(f"the file holds a weight that no CLIP has: {name}", "is it an Alpha-CLIP?")
    return {f"{layer}{_BLOCK[module]}.{kind}": value}

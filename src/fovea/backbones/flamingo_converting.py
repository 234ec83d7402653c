"""From the weights of an OpenFlamingo, a CLIP and a language model to one directory. specs/pin.md, 8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.backbones.sources import check_complete, not_loaded
from fovea.errors import CheckpointError
from fovea.networks.flamingo import Flamingo, FlamingoConfig, VisionTokens
from fovea.networks.flamingo_files import save_flamingo
from fovea.networks.flamingo_weights import Coverage, load_flamingo_weights, renamed_weights
from fovea.networks.perceiver import AttentionSizes

if TYPE_CHECKING:
    from torch import Tensor, nn

# In this order they were given their ids.
_ENDS, _IMAGE, _PAD = "<|endofchunk|>", "<image>", "<PAD>"

# Of all released models; weights do not show it.
_HEAD_WIDTH = 64


def is_flamingo(content: Mapping[str, Any]) -> bool:
    """Whether a file of weights is an OpenFlamingo's."""
    inner = content.get("model_state_dict", content)
    return isinstance(inner, Mapping) and any(str(key).endswith("perceiver.latents") for key in inner)


def convert_flamingo(content: Mapping[str, Any], base: str | None, directory: Path) -> Coverage:
    """Join the pieces of an OpenFlamingo in a directory that fovea loads.

    Args:
        content: what the released file holds.
        base: the CLIP and the language model that it was trained with, directories or hub names with a comma between.
        directory: where it goes; is there.

    Raises:
        CheckpointError: a piece cannot be had, or does not go with the others.
    """
    clip, _, lm = (base or "").partition(",")
    if not (clip.strip() and lm.strip()):
        raise CheckpointError(
            "the file of an OpenFlamingo holds neither its CLIP nor its language model",
            "name both, such as --base openai/clip-vit-large-patch14,togethercomputer/RedPajama-INCITE-Base-3B-v1",
        )
    state = renamed_weights(content)
    tower, (model, tokenizer) = _tower(clip.strip()), _language_model(lm.strip())
    try:
        joined = Flamingo(_sizes(state, tokenizer), VisionTokens(tower), model)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the file lacks weights of an OpenFlamingo ({error})", "is it the whole file?"
        ) from error
    _resize(model, state, len(tokenizer), lm)
    coverage = load_flamingo_weights(joined, content)
    save_flamingo(joined, tokenizer, directory)
    return coverage


def _tower(source: str) -> nn.Module:
    from transformers import CLIPVisionModel

    try:
        tower, report = CLIPVisionModel.from_pretrained(source, use_safetensors=True, output_loading_info=True)
    except Exception as error:
        raise not_loaded(source, error) from error
    check_complete(source, report["missing_keys"])
    found: nn.Module = tower
    return found


def _language_model(source: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model, report = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, output_loading_info=True)
    except Exception as error:
        raise not_loaded(source, error) from error
    check_complete(source, report["missing_keys"])
    tokenizer.add_special_tokens({"additional_special_tokens": [_ENDS, _IMAGE]})
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": _PAD})
    return model, tokenizer


def _resize(model: Any, state: Mapping[str, Tensor], needed: int, source: str) -> None:
    """Give the language model the words that the file has."""
    words = model.get_input_embeddings()
    name = next(f"lm.{name}.weight" for name, module in model.named_modules() if module is words)
    rows = len(state[name]) if name in state else needed
    if rows < needed:
        raise CheckpointError(
            f"the file knows {rows} words and the tokenizer of {source} {needed}",
            "name the language model that it was trained with",
        )
    model.resize_token_embeddings(rows)


def _sizes(state: Mapping[str, Tensor], tokenizer: Any) -> FlamingoConfig:
    latents, width = state["perceiver.latents"].shape
    layers = {key.split(".")[2] for key in state if key.startswith("perceiver.layers.")}
    first = min(int(key.split(".")[1]) for key in state if key.startswith("gates."))
    resampler = _layer_sizes(state, "perceiver.layers.0.0.to_q.weight", "perceiver.layers.0.1.1.weight")
    gated = _layer_sizes(state, f"gates.{first}.attn.to_q.weight", f"gates.{first}.ff.1.weight")
    image, end = tokenizer.convert_tokens_to_ids([_IMAGE, _ENDS])
    return FlamingoConfig(
        media_width=width, image_token=image, end_token=end, every=first + 1, depth=len(layers), latents=latents,
        resampler=resampler, gated=gated,
    )  # fmt: skip


def _layer_sizes(state: Mapping[str, Tensor], queries: str, inner: str) -> AttentionSizes:
    wide, width = state[inner].shape
    return AttentionSizes(state[queries].shape[0] // _HEAD_WIDTH, _HEAD_WIDTH, wide // width)

"""A Flamingo as a directory: sizes, and all weights, those of its tower and its language model among them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fovea.errors import CheckpointError
from fovea.networks.flamingo import Flamingo, FlamingoConfig, VisionTokens
from fovea.networks.perceiver import AttentionSizes

_WEIGHTS = "model.safetensors"


def save_flamingo(model: Flamingo, tokenizer: Any, directory: Path) -> None:
    """Write a Flamingo around a CLIP's tower, and its tokenizer. The sizes come last.

    Args:
        model: whose picture tower is a :class:`VisionTokens`.
        tokenizer: of its language model, with the tokens for pictures and ends.
        directory: that is there.
    """
    from safetensors.torch import save_model

    vision: Any = model.vision
    lm: Any = model.lm
    # Knows weights that are there twice, such as the words' of many language models.
    save_model(model, str(directory / _WEIGHTS))
    tokenizer.save_pretrained(directory)
    sizes = {
        "model_type": "flamingo",
        "flamingo": asdict(model.config),
        "normed": vision.normed,
        "vision_config": vision.tower.config.to_dict(),
        "text_config": lm.config.to_dict(),
    }
    (directory / "config.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")


def load_flamingo(directory: Path, dtype: torch.dtype = torch.float32) -> Flamingo:
    """Read what :func:`save_flamingo` wrote.

    Raises:
        CheckpointError: the sizes make no sense, or weights are missing.
        OSError: a file cannot be read.
    """
    from safetensors.torch import load_model

    sizes = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    try:
        model = _build(sizes).to(dtype)
        missing, unexpected = load_model(model, directory / _WEIGHTS, strict=False)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{directory} describes no Flamingo ({error})", "was it written by fovea?") from error
    if missing or unexpected:
        raise CheckpointError(
            f"{directory} lacks {len(missing)} weights of its Flamingo and has {len(unexpected)} others",
            "was it written by fovea?",
        )
    return model


def _build(sizes: dict[str, Any]) -> Flamingo:
    from transformers import AutoConfig, AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel

    stated = dict(sizes["flamingo"])
    parts: dict[str, Any] = {name: AttentionSizes(**stated.pop(name)) for name in ("resampler", "gated")}
    text = dict(sizes["text_config"])
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(text.pop("model_type"), **text))
    tower = CLIPVisionModel(CLIPVisionConfig(**sizes["vision_config"]))
    return Flamingo(FlamingoConfig(**stated, **parts), VisionTokens(tower, bool(sizes["normed"])), lm)

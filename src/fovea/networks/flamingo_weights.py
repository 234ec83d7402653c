"""OpenFlamingo's released weights: in which spellings their files hold them, and what a model takes from them.

The files hold the resampler, the gated layers and the language model's word embeddings; picture tower and language
model come from elsewhere. So a load says what it covered: a wrong language model must not be passed over in silence.
Source: specs/pin.md, 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.flamingo import Flamingo

# The gated layer of a decoder layer, in the older and the newer spelling.
_GATES = (
    re.compile(r"lang_encoder\.gated_cross_attn_layers\.(\d+)\.(.+)"),
    re.compile(r"lang_encoder\..+\.(\d+)\.gated_cross_attn_layer\.(.+)"),
)
# Decoder layers were wrapped, and are there a second time under this name.
_WRAPPED = re.compile(r"lang_encoder\.(.+\.\d+)\.decoder_layer\.(.+)")
_TWICE = re.compile(r"lang_encoder\.old_decoder_blocks\..+")


@dataclass(frozen=True)
class Coverage:
    """What a load took and what it did not.

    Attributes:
        taken: weights of the file that the model has now.
        from_elsewhere: weights of the model that the file does not hold: the picture tower's, and the language
            model's.
        unused: weights of the file that the model has no place for.
    """

    taken: tuple[str, ...]
    from_elsewhere: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.taken)} weights taken, {len(self.from_elsewhere)} of the picture tower and the language model "
            f"left as they were, {len(self.unused)} not used"
        )


def renamed_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a file under our names.

    Args:
        state: what the file holds: a state dict, bare, under ``model_state_dict``, or behind ``module.``.

    Raises:
        CheckpointError: it holds no state dict.
    """
    inner = state.get("model_state_dict", state)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise CheckpointError("the file holds no state dict", "give the weights of an OpenFlamingo")
    found: dict[str, Tensor] = {}
    for key, value in inner.items():
        name = _renamed(key.removeprefix("module."))
        if name is not None:
            found[name] = value
    return found


def _renamed(key: str) -> str | None:
    """One weight's name in our model; None for what is there twice."""
    for pattern in _GATES:
        if match := pattern.fullmatch(key):
            return f"gates.{match[1]}.{match[2]}"
    if _TWICE.fullmatch(key):
        return None
    if match := _WRAPPED.fullmatch(key):
        return f"lm.{match[1]}.{match[2]}"
    if key.startswith("lang_encoder."):
        return "lm." + key.removeprefix("lang_encoder.")
    return key.replace("vision_encoder.", "vision.", 1)


def load_flamingo_weights(model: Flamingo, state: Mapping[str, Any]) -> Coverage:
    """Give a Flamingo its released weights.

    Args:
        model: built around the language model that the weights were trained with.
        state: what the file holds.

    Returns:
        What was covered.

    Raises:
        CheckpointError: resampler or gated layers are not all there, or a shape differs: another language model, or
            gates in front of other layers.
    """
    given, own = renamed_weights(state), model.state_dict()
    _check_gates(given, own)
    missing = [key for key in own if key.startswith(("perceiver.", "gates.")) and key not in given]
    if missing:
        raise CheckpointError(f"the file lacks {len(missing)} weights, such as {missing[0]}", "is it the whole file?")
    taken = {key: value for key, value in given.items() if key in own}
    for key, value in taken.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{key} is {tuple(value.shape)} in the file and {tuple(own[key].shape)} in the model",
                "build the model around the language model and picture tower that the weights were trained with",
            )
    with torch.no_grad():
        for key, value in taken.items():
            own[key].copy_(value)
    rest = tuple(key for key in own if key not in taken)
    return Coverage(tuple(taken), rest, tuple(key for key in given if key not in own))


def _check_gates(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Whether gated layers stand where the file has them."""

    def places(keys: Mapping[str, Tensor]) -> list[int]:
        return sorted({int(key.split(".")[1]) for key in keys if key.startswith("gates.")})

    if places(given) != places(own):
        raise CheckpointError(
            f"the file has gated layers in front of the layers {places(given)}, and the model of {places(own)}",
            "build the model with gates in front of every 1, 2 or 4 layers, as the file has them",
        )

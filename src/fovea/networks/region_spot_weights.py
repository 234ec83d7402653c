"""Released weights of RegionSpot's head: what their files hold, and under which names (specs/regionspot.md, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead

_PREFIX = "model."

# The frozen models, which some files still hold; ours come from files of their own.
_FROZEN = ("sam.", "clip_model.")

# What the sizes are read off.
_TELLING = ("to_clip.weight", "projector.weight", "decoder.layers.0.linear1.weight")


def needed_region_spot_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of the head among those of a file, under our names.

    Args:
        content: what the file holds: a state dict, or one under ``model`` beside what training needed; with or without
            the released prefix, and with or without the frozen models.

    Raises:
        CheckpointError: it holds no state dict.
    """
    inner = content.get("model", content)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise CheckpointError("the file holds no state dict", "give the weights of a RegionSpot")
    bare = {str(key).removeprefix(_PREFIX): value for key, value in inner.items()}
    return {key: value for key, value in bare.items() if not key.startswith(_FROZEN)}


def build_region_spot(
    state: Mapping[str, Tensor], heads: int = 8, class_token: bool = True, config: RegionSpotConfig | None = None
) -> RegionSpotHead:
    """A head with these very weights, in float32.

    Args:
        state: of the head, under our names.
        heads: of its attention, which weights do not show.
        class_token: whether it was trained with CLIP's class token, likewise.
        config: its sizes where they are known; else they are read off the weights.

    Raises:
        CheckpointError: weights are missing, unknown or of another shape.
    """
    for key in _TELLING:
        if key not in state or state[key].ndim != 2:
            raise CheckpointError(
                f"these are no weights of RegionSpot's head: they lack {key}", "is it the right file?"
            )
    sizes = config or RegionSpotConfig.of_weights(dict(state), heads, class_token)
    if min(sizes.heads, sizes.clip_width, sizes.depth) < 1 or sizes.clip_width % sizes.heads:
        raise CheckpointError(
            f"{sizes.heads} attention heads do not share a width of {sizes.clip_width}", "released heads have 8"
        )
    head = RegionSpotHead(sizes)
    wanted = head.state_dict()
    _check_keys(wanted, state)
    for key, value in wanted.items():
        if value.shape != state[key].shape:
            found, expected = tuple(state[key].shape), tuple(value.shape)
            raise CheckpointError(
                f"{key} has the shape {found} and should have {expected}", "do the weights belong to this config.json?"
            )
    head.load_state_dict({key: state[key].float() for key in wanted})
    return head.eval().requires_grad_(False)


def _check_keys(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    lacking, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if not lacking and not unknown:
        return
    report = [
        f"{len(keys)} {what}, such as {keys[0]}" for keys, what in ((lacking, "missing"), (unknown, "unknown")) if keys
    ]
    raise CheckpointError(
        f"these are not all and only the weights of RegionSpot's head: {'; '.join(report)}", "is it the right file?"
    )

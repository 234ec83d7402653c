"""Where the tokens of a picture pass on their way to the words, in every captioner that can host an insert.

One hook serves all of them: it changes an argument of the network that fuses picture and text, and is gone when it is
closed. The host's own code, its caches, its beams and its batches stay as they are. specs/pin.md, 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fovea.errors import CheckpointError


@dataclass(frozen=True)
class Port:
    """A place to change picture tokens.

    Attributes:
        path: of the module that receives them, from the model.
        argument: the name of the argument they come in; where it is not given by name, it is the first.
        class_token: whether a class token is among them, in front.
        tower: path of the picture tower that they come from.
        mask: the name of the argument that says which of them count; empty where all do.
        any_number: whether the module makes a few tokens of however many come in. The others pass each of them on to
            the words, where a token of the text has to hold its place.
    """

    path: str
    argument: str
    class_token: bool
    tower: str
    mask: str = ""
    any_number: bool = True


_QFORMER = Port("qformer", "encoder_hidden_states", True, "vision_model", mask="encoder_attention_mask")
_PROJECTOR = Port("model.multi_modal_projector", "image_features", False, "model.vision_tower", any_number=False)

#: By the type that a model's configuration states.
PORTS: dict[str, Port] = {
    "blip-2": _QFORMER,
    "instructblip": _QFORMER,
    "flamingo": Port("perceiver", "tokens", False, "vision.tower"),
    "idefics": Port("model.perceiver_resampler", "context", True, "model.vision_model"),
    "idefics2": Port("model.connector", "image_hidden_states", False, "model.vision_model", mask="attention_mask"),
    "llava": _PROJECTOR,
    "paligemma": _PROJECTOR,
}


def port_of(model: nn.Module) -> Port:
    """Where a model takes changed picture tokens.

    Raises:
        CheckpointError: it is no host that is known.
    """
    config: Any = model.config
    if config.model_type not in PORTS:
        raise CheckpointError(
            f"a {config.model_type} model cannot host an insert", f"those that can are {', '.join(sorted(PORTS))}"
        )
    return PORTS[config.model_type]


@contextmanager
def changed_tokens(model: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a host see other picture tokens than its own for as long as the context lasts.

    Args:
        model: the host.
        change: from its tokens ``(..., places, width)``, in its own type, to those that it is to see; of them there
            may be more where the port takes any number, or where the text holds places for them.

    Raises:
        CheckpointError: it is no host that is known.
    """
    port = port_of(model)

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = port.argument in kwargs
        tokens: Tensor = kwargs[port.argument] if named else args[0]
        changed = change(tokens)
        mask = kwargs.get(port.mask)
        if mask is not None:
            # What was added counts.
            more = changed.shape[-2] - mask.shape[-1]
            kwargs = {**kwargs, port.mask: nn.functional.pad(mask, (0, more), value=1)}
        if named:
            return args, {**kwargs, port.argument: changed}
        return (changed, *args[1:]), kwargs

    handle = model.get_submodule(port.path).register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def inserted(model: nn.Module, insert: Callable[[], Tensor]) -> Any:
    """A context in which an insert is added to a host's picture tokens.

    Args:
        model: the host.
        insert: gives ``(places, width)``; it is asked at every forward pass, so that it can be trained.

    Raises:
        CheckpointError: the model is no host, or has other places than the insert.
    """

    def add(tokens: Tensor) -> Tensor:
        vectors = insert()
        if tokens.shape[-2:] != vectors.shape:
            raise CheckpointError(
                f"the insert is made for {vectors.shape[0]} places of width {vectors.shape[1]}, and the model has "
                f"{tokens.shape[-2]} of width {tokens.shape[-1]}",
                "use the model and the picture size that it was trained with",
            )
        # In the insert's precision, which is trained in float32 beside a host of half precision.
        return (tokens.to(vectors.dtype) + vectors).to(tokens.dtype)

    return changed_tokens(model, add)

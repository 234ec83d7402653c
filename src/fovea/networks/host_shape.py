"""What a captioner that can host something is made of: its picture's grid, its widths, its tower's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from fovea.networks.flamingo import decoder_layers
from fovea.networks.insert_ports import port_of

# What towers call their class token.
_CLASS_TOKENS = ("class_embedding", "cls_token")


@dataclass(frozen=True)
class Room:
    """Places of a text that are kept free for vectors that no picture and no word brings.

    Attributes:
        pictures: behind the tokens of every picture, as if there were more of them.
        words: in front of a question, behind its picture.
    """

    pictures: int = 0
    words: int = 0


@dataclass(frozen=True)
class HostShape:
    """Sizes of a host.

    Attributes:
        size: side of its square picture in pixels.
        grid: rows and columns of the picture's tokens.
        width: of these tokens where they leave the tower.
        class_token: whether a class token is among those that leave, in front.
        tower_class_token: whether there is one within the tower.
        tower_width: of the tokens within the tower.
        patch: side of a patch in pixels.
        word_width: of the language model's words.
        longest: tokens that it can read and write, all in all; None where it does not say.
    """

    size: int
    grid: tuple[int, int]
    width: int
    class_token: bool
    tower_class_token: bool
    tower_width: int
    patch: int
    word_width: int
    longest: int | None = None

    @property
    def places(self) -> int:
        """How many tokens leave the tower."""
        rows, columns = self.grid
        return rows * columns + self.class_token


def shape_of(model: nn.Module) -> HostShape:
    """The sizes of a host.

    Raises:
        CheckpointError: it is no host that is known.
    """
    port, config = port_of(model), _config(model)
    tower = tower_of(model)
    vision: Any = tower.config
    side = int(vision.image_size) // int(vision.patch_size)
    has_class = any(name.rsplit(".", 1)[-1] in _CLASS_TOKENS for name, _ in tower.named_parameters())
    passes_class, layers = port.class_token, 1
    if config.model_type == "llava":
        passes_class = has_class and config.vision_feature_select_strategy == "full"
        layers = 1 if isinstance(config.vision_feature_layer, int) else len(config.vision_feature_layer)
    words: Any = model
    return HostShape(
        size=int(vision.image_size),
        grid=(side, side),
        width=int(vision.hidden_size) * layers,
        class_token=passes_class,
        tower_class_token=has_class,
        tower_width=int(vision.hidden_size),
        patch=int(vision.patch_size),
        word_width=int(words.get_input_embeddings().weight.shape[1]),
        longest=getattr(_text_config(model), "max_position_embeddings", None),
    )


def tower_of(model: nn.Module) -> Any:
    """The picture tower of a host.

    Raises:
        CheckpointError: it is no host that is known.
    """
    return model.get_submodule(port_of(model).tower)


def tower_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of a host's tower that its words can tell from others, with their paths in the model.

    A LLaVA may look at the tokens in front of the last layer, which then does nothing.

    Raises:
        CheckpointError: it is no host that is known, or they cannot be found.
    """
    config = _config(model)
    name, blocks = decoder_layers(tower_of(model))
    used = len(blocks)
    if config.model_type == "llava":
        chosen = config.vision_feature_layer
        every = [chosen] if isinstance(chosen, int) else chosen
        # Number 0 is what enters the first layer.
        used = max(layer if layer >= 0 else len(blocks) + 1 + layer for layer in every)
    path = f"{port_of(model).tower}.{name}"
    return [(f"{path}.{number}", block) for number, block in enumerate(blocks)][:used]


def _text_config(model: nn.Module) -> Any:
    config = _config(model)
    return _config(model.lm) if config.model_type == "flamingo" else config.get_text_config()  # type: ignore[arg-type]


def _config(model: nn.Module) -> Any:
    return model.config

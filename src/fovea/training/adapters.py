"""Low-rank adapters for a picture tower, through peft."""

from __future__ import annotations

from typing import Any

from torch import nn

from fovea.errors import MissingExtraError

# Of each block: queries and values but not keys, what joins the heads, and both layers of the perceptron
# (specs/alphaclip.md, 3).
_ADAPTED = r".*\.layers\.\d+\.(self_attn\.(q_proj|v_proj|out_proj)|mlp\.(fc1|fc2))"


def add_adapters(tower: nn.Module, rank: int) -> None:
    """Put adapters beside the linear layers of a CLIP tower's blocks, in place; nothing else is trained any more.

    An adapter adds ``B A / rank`` to a weight. ``B`` starts at zero, so that nothing changes at first.

    Args:
        tower: contains the blocks of transformers' ``CLIPModel``.
        rank: of the adapters.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("training with adapters", "lora") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=1, lora_dropout=0.0, target_modules=_ADAPTED), tower)


def merge_adapters(tower: nn.Module) -> None:
    """Add all adapters to the weights that they stand beside, in place; the tower is then as if it never had any."""
    child: Any
    for module in list(tower.modules()):
        for name, child in list(module.named_children()):
            # Of peft's layers alone: it need not be installed where there are none.
            if hasattr(child, "get_base_layer"):
                child.merge()
                setattr(module, name, child.get_base_layer())

"""Alpha-CLIP's picture tower in the place of a captioner's own (specs/alphaclip.md, 9: region captioning).

A captioner whose tower is a CLIP takes an Alpha-CLIP's without any training: its output space is that CLIP's. The tower
then takes a fourth plane, and everything behind it stays as it is.
"""

from __future__ import annotations

from torch import nn

from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import AlphaPatchEmbedding, add_alpha

# The plane's own weights, which a tower without one lacks.
_ALPHA = "embeddings.patch_embedding.alpha.weight"


def join_tower(captioner: nn.Module, source: nn.Module) -> None:
    """Put the weights of a picture tower with an alpha plane in the place of a captioner's own, in place.

    Args:
        captioner: a LLaVA or a BLIP-2 of transformers, with an alpha plane already or without.
        source: a CLIP of transformers with an alpha plane, or its picture tower; any tower of the same layout.

    Raises:
        CheckpointError: the source has no alpha plane, or the towers differ in their layout. Nothing is changed then:
            weights of another tower would leave the language model with tokens that it cannot read.
    """
    own, other = _tower_of(captioner), _tower_of(source)
    weights = other.state_dict()
    if not isinstance(_embedding(other), AlphaPatchEmbedding):
        raise CheckpointError("the picture tower has no alpha plane to give", "name an Alpha-CLIP")
    held = {name: tensor.shape for name, tensor in own.state_dict().items() if name != _ALPHA}
    offered = {name: tensor.shape for name, tensor in weights.items() if name != _ALPHA}
    for name in {**held, **offered}:
        if held.get(name) != offered.get(name):
            raise CheckpointError(
                f"the picture tower does not fit the captioner's: {name} is {_shape(offered, name)} here and "
                f"{_shape(held, name)} there",
                "an Alpha-CLIP fits captioners of its own CLIP, as ViT-L/14@336px does LLaVA-1.5",
            )
    add_alpha(own)
    own.load_state_dict(weights)


def _tower_of(model: nn.Module) -> nn.Module:
    """The module that embeds patches, whatever it is called: its names of weights are the same everywhere."""
    found = [module for module in model.modules() if isinstance(_embedding(module), nn.Conv2d)]
    if len(found) != 1:
        raise CheckpointError(
            f"{type(model).__name__} has {len(found)} picture towers", "use a CLIP, a LLaVA or a BLIP-2"
        )
    return found[0]


def _embedding(module: nn.Module) -> nn.Module | None:
    found: nn.Module | None = getattr(getattr(module, "embeddings", None), "patch_embedding", None)
    return found


def _shape(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    return " x ".join(map(str, shapes[name])) if name in shapes else "missing"

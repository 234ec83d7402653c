"""Alpha-CLIP's fourth plane, for any vision transformer of Hugging Face that embeds patches with a convolution.

Pictures become four planes: red, green, blue, and alpha, which says where to look. A second convolution without bias
embeds the alpha plane beside the picture, and the results are added in front of everything else (specs/alphaclip.md,
2). Towers pass their pixels on untouched, so that a tower with this embedding takes four planes in place of three, and
whatever is built upon it (CLIP, LLaVA, BLIP-2) does too: no hooks, no state between calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fovea.errors import CheckpointError

#: Alpha lies in 0..1 and is normalised like a colour (specs/alphaclip.md, 4). The plane is neutral at the mean, where
#: it is multiplied by nothing, and not at 0: zeros say that everything is background.
ALPHA_MEAN, ALPHA_STD = 0.5, 0.26


def normalised_alpha(alpha: Tensor) -> Tensor:
    """From 0..1 to what the tower takes."""
    return (alpha - ALPHA_MEAN) / ALPHA_STD


class AlphaPatchEmbedding(nn.Conv2d):
    """A patch embedding of pictures with an alpha plane.

    Args:
        rgb: the tower's patch embedding, whose weights are taken over. The alpha plane's start at zero: until it is
            trained, nothing depends on it.
    """

    def __init__(self, rgb: nn.Conv2d) -> None:
        geometry: dict[str, Any] = {"kernel_size": rgb.kernel_size, "stride": rgb.stride, "padding": rgb.padding}
        place: dict[str, Any] = {"device": rgb.weight.device, "dtype": rgb.weight.dtype}
        super().__init__(3, rgb.out_channels, bias=rgb.bias is not None, **geometry, **place)
        self.load_state_dict(rgb.state_dict())
        self.alpha = nn.Conv2d(1, rgb.out_channels, bias=False, **geometry, **place)
        nn.init.zeros_(self.alpha.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Embed patches.

        Args:
            input: ``(B, 4, S, S)``, normalised; or ``(B, 3, S, S)`` for pictures that are meant as a whole, which is
                an alpha of ones.

        Returns:
            ``(B, width, S / patch, S / patch)``.
        """
        pixels, alpha = input[:, :3], input[:, 3:]
        if not alpha.shape[1]:
            alpha = normalised_alpha(torch.ones_like(pixels[:, :1]))
        embedded: Tensor = super().forward(pixels) + self.alpha(alpha)
        return embedded


def add_alpha(tower: nn.Module) -> AlphaPatchEmbedding:
    """Give a picture tower its fourth plane, in place.

    Args:
        tower: a model of transformers, or its picture tower, with ``embeddings.patch_embedding``.

    Returns:
        The new patch embedding; the one that is there, where the tower has a fourth plane already.

    Raises:
        CheckpointError: the tower does not embed patches with a convolution, or has several that do.
    """
    found = [module for name, module in tower.named_modules() if name.split(".")[-1] == "embeddings"]
    found = [module for module in found if isinstance(getattr(module, "patch_embedding", None), nn.Conv2d)]
    if len(found) != 1:
        raise CheckpointError(
            f"{type(tower).__name__} has {len(found)} patch embeddings that an alpha plane could join",
            "use a CLIP with a vision transformer",
        )
    (embeddings,) = found
    rgb: Any = embeddings.patch_embedding
    if not isinstance(rgb, AlphaPatchEmbedding):
        embeddings.patch_embedding = AlphaPatchEmbedding(rgb)
    embedding: Any = embeddings.patch_embedding
    return embedding

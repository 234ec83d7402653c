"""The inside of a CLIP-ResNet: the last feature map and its attention pool (specs/iterprime.md, 12)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.networks.clip_resnet import ClipResnet


class ResnetTokens:
    """See :class:`fovea.backbones.inner.PlaceTokens`."""

    def __init__(self, model: ClipResnet) -> None:
        self._tower = model.visual
        self.grid = model.config.grid
        self.patch = model.config.image_size // model.config.grid
        self.width = model.config.channels

    def places(self, pixels: Tensor) -> Tensor:
        """The last feature map behind its mean, which stands for the class token that a ResNet does not have.

        The positions of the attention pool are not added: they belong to one size of the input.
        """
        tokens = self._tower.stages(pixels)[-1].flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)

    def readout(self) -> tuple[Tensor, Tensor]:
        """Value and output projections of the attention pool, which are what it makes of a single place."""
        pool = self._tower.attnpool
        bias = pool.c_proj(pool.v_proj.bias)
        return (pool.c_proj.weight @ pool.v_proj.weight).detach(), bias.detach()

    def masked(self, pixels: Tensor, coverage: Tensor) -> Tensor:
        """The last feature map, of unit length at every place, is multiplied by the mask and pooled."""
        features = F.normalize(self._tower.stages(pixels)[-1], dim=1)
        pooled: Tensor = self._tower.attnpool(features * coverage[:, None])[0]
        return pooled

    def inside(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """The attention pool sees the places inside of the region, and their mean where it has the mean of all.

        A ResNet has no class token to copy, and its features have looked around before they are pooled: this limits the
        last layer alone.
        """
        pooled: Tensor = self._tower.attnpool.pool_inside(self._tower.stages(pixels)[-1], inside.flatten(1))
        return pooled

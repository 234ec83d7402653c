"""The inside of a CLIP-ResNet: the last feature map and its attention pool (specs/iterprime.md, 12)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fovea.networks.clip_resnet import ClipResnet


class ResnetTokens:
    """See :class:`fovea.backbones.inner.InnerTokens`."""

    def __init__(self, model: ClipResnet) -> None:
        self._tower = model.visual
        self.grid = model.config.grid

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

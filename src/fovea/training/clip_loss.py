"""What the CLIP minis share: pixels, what a forward pass gives, and the losses against the labels of scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL
from fovea.training.loop import Batch

#: How many names and colours there are to tell apart.
CLASSES = {"names": len(NAMES), "colours": len(COLOURS)}


def normalise(pixels: Tensor) -> Tensor:
    """``(B, S, S, 3)`` uint8 to ``(B, 3, S, S)`` float32 as CLIP expects it, channels last in memory."""
    mean, std = (pixels.new_tensor(value, dtype=torch.float32) for value in (CLIP_MEAN, CLIP_STD))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def unit(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of them at unit length."""
    return {key: F.normalize(value, dim=-1) for key, value in vectors.items()}


def _classify(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled rows of ``(N, C)`` logits; 0 where none is labelled."""
    total = F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
    return total / (labels != NO_LABEL).sum().clamp(min=1)


def _phrase_loss(logits: Tensor, names: Tensor) -> Tensor:
    """Contrast of pictures and phrases ``(B, B)``; phrases for other things of the same name count as neither."""
    rows = (names != NO_LABEL).nonzero()[:, 0]
    if len(rows) < 2:
        return logits.sum() * 0
    same = names[rows][:, None] == names[rows][None]
    same.fill_diagonal_(False)
    kept = logits[rows][:, rows].masked_fill(same, float("-inf"))
    target = torch.arange(len(rows), device=logits.device)
    return (F.cross_entropy(kept, target) + F.cross_entropy(kept.t(), target)) / 2


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """What one forward pass gives, for B pictures of which P places have a label.

    Attributes:
        pooled: ``(B, E)`` picture embeddings.
        places: ``(P, E)`` embeddings of the labelled places.
        probes: logits of linear classifiers on the trunk for ``names`` and ``colours``, ``(P, .)`` each.
        words: what pictures are compared with for ``names`` and ``colours``, ``(., E)`` each, of unit length.
        texts: what the text tower says, of unit length: ``phrases`` ``(B, E)``, and others that an objective needs.
        scale: temperature, a scalar.
    """

    pooled: Tensor
    places: Tensor
    probes: dict[str, Tensor]
    words: dict[str, Tensor]
    texts: dict[str, Tensor]
    scale: Tensor


_WEIGHTS = {
    "name": 1.0,
    "colour": 0.3,
    "phrase": 0.4,
    "place": 0.5,
    "place_colour": 0.2,
    "probe": 1.0,
    "probe_colour": 0.3,
}


def clip_loss(output: TowerOutput, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """The loss against the labels of :class:`ClipScenes`, and its parts."""
    labelled = batch["place_names"] != NO_LABEL
    place_names, place_colours = batch["place_names"][labelled], batch["place_colours"][labelled]
    pooled = output.scale * F.normalize(output.pooled, dim=-1)
    places = output.scale * F.normalize(output.places, dim=-1)
    names, colours = output.words["names"], output.words["colours"]
    parts = {
        "name": _classify(pooled @ names.t(), batch["names"]),
        "colour": _classify(pooled @ colours.t(), batch["colours"]),
        "phrase": _phrase_loss(pooled @ output.texts["phrases"].t(), batch["names"]),
        "place": _classify(places @ names.t(), place_names),
        "place_colour": _classify(places @ colours.t(), place_colours),
        "probe": _classify(output.probes["names"], place_names),
        "probe_colour": _classify(output.probes["colours"], place_colours),
    }
    loss = torch.stack([_WEIGHTS[key] * value for key, value in parts.items()]).sum()
    return loss, {key: float(value.detach()) for key, value in parts.items()}

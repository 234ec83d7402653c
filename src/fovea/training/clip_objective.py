"""The loss of the CLIP minis: names and colours of marked things, phrases, and dense labels for every place.

Pictures learn against free vectors, one for every name and colour, and the text tower learns to say these vectors. With
the text tower itself as the classifier pictures are learnt three times slower, because it has to learn to tell names
apart at the same time (docs/minis.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL, ClipScenes
from fovea.training.loop import Batch
from fovea.training.settings import TrainSettings
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer, save_tokenizer

#: Mean and deviation of CLIP's pixels, on the scale 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels: Tensor) -> Tensor:
    """``(B, S, S, 3)`` uint8 to ``(B, 3, S, S)`` float32 as CLIP expects it, channels last in memory."""
    scaled = (pixels.float() / 255 - pixels.new_tensor(MEAN, dtype=torch.float32)) / pixels.new_tensor(
        STD, dtype=torch.float32
    )
    return scaled.permute(0, 3, 1, 2)


def _present_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy against an even spread over all names that a plain scene shows; ``(B, names)`` each."""
    shown = present.sum(1)
    rows = shown > 0
    if not rows.any():
        return logits.sum() * 0
    return -(F.log_softmax(logits[rows], dim=1) * present[rows] / shown[rows, None]).sum(1).mean()


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


def clip_loss(
    pooled: Tensor, places: Tensor, words: dict[str, Tensor], texts: dict[str, Tensor], scale: Tensor, batch: Batch
) -> tuple[Tensor, dict[str, float]]:
    """The whole loss.

    Args:
        pooled: ``(B, E)`` picture embeddings.
        places: ``(B, G * G, E)`` embeddings of the places.
        words: the free vectors of ``names`` and ``colours``, ``(., E)`` each, of unit length.
        texts: what the text tower says for ``names``, ``colours`` and ``phrases``, likewise.
        scale: temperature, a scalar.
        batch: labels, see :class:`ClipScenes`.

    Returns:
        The loss and its parts.
    """
    pooled, places = scale * F.normalize(pooled, dim=-1), scale * F.normalize(places, dim=-1)
    name_logits = pooled @ words["names"].t()
    parts = {
        "name": F.cross_entropy(name_logits, batch["names"], ignore_index=NO_LABEL),
        "colour": F.cross_entropy(pooled @ words["colours"].t(), batch["colours"], ignore_index=NO_LABEL),
        "present": _present_loss(name_logits, batch["present"]),
        "phrase": _phrase_loss(pooled @ texts["phrases"].t(), batch["names"]),
        "place": F.cross_entropy(
            (places @ words["names"].t()).flatten(0, 1), batch["place_names"].flatten(), ignore_index=NO_LABEL
        ),
        "place_colour": F.cross_entropy(
            (places @ words["colours"].t()).flatten(0, 1), batch["place_colours"].flatten(), ignore_index=NO_LABEL
        ),
    }
    for key in ("names", "colours"):
        # One way: the text tower follows the vectors, and the vectors follow the pictures.
        parts[f"text_{key}"] = (1 - (texts[key] * words[key].detach()).sum(-1)).mean()
    weights = {"name": 1.0, "colour": 0.3, "present": 0.25, "phrase": 0.4, "place": 1.0, "place_colour": 0.3}
    weights |= {"text_names": 2.0, "text_colours": 1.0}
    loss = torch.stack([weights[key] * value for key, value in parts.items()]).sum()
    return loss, {key: float(value.detach()) for key, value in parts.items()}


_WORDS = {"names": len(NAMES), "colours": len(COLOURS)}


def _unit(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: F.normalize(value, dim=-1) for key, value in vectors.items()}


class _Tower(nn.Module):
    """One forward pass for everything a step needs, as data-parallel wrappers demand."""

    def __init__(self, clip: ClipResnet) -> None:
        super().__init__()
        self.clip = clip
        size = clip.config.embed_dim
        self.words = nn.ParameterDict(
            {key: nn.Parameter(torch.randn(count, size) / size**0.5) for key, count in _WORDS.items()}
        )

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor], Tensor]:
        pooled, places = self.clip.visual(normalise(batch["pixels"]))
        texts = {
            "names": self.clip.encode_text(batch["name_texts"]),
            "colours": self.clip.encode_text(batch["colour_texts"]),
            "phrases": self.clip.encode_text(batch["phrases"]),
        }
        # CLIP caps its temperature at 100; a small model has no use for more.
        scale = self.clip.logit_scale.clamp(max=4.6).exp()
        return pooled, places, _unit(dict(self.words.items())), _unit(texts), scale


class ClipResnetObjective:
    """Trains ``mini-clip-resnet``."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.config = ClipResnetConfig(
            layers=(1, 2, 4),
            width=32,
            image_size=128,
            embed_dim=256,
            context_length=CONTEXT_LENGTH,
            vocab_size=len(build_tokenizer()),
            text_width=192,
            text_heads=3,
            text_layers=2,
        )
        self.module = _Tower(ClipResnet(self.config))
        # A cold start: at CLIP's usual 14 the first steps are spent on shrinking logits again.
        nn.init.constant_(self.module.clip.logit_scale, 2.3)

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes, crops and marks."""
        return ClipScenes(settings.seed, settings.steps, settings.batch_size, self.config.image_size, self.config.grid)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """See :func:`clip_loss`."""
        pooled, places, words, texts, scale = module(batch)
        return clip_loss(pooled, places, words, texts, scale, batch)

    def start_from(self, directory: Path) -> None:
        """Take the weights that :meth:`export` wrote."""
        weights = load_file(directory / "model.safetensors")
        self.module.clip.load_state_dict({key: value.float() for key, value in weights.items()})
        data = ClipScenes(0, 1, 1, self.config.image_size, self.config.grid)
        for key, ids in (("names", data.name_tokens("the {}")), ("colours", data.colour_tokens("the {} object"))):
            with torch.no_grad():
                self.module.words[key].copy_(F.normalize(self.module.clip.encode_text(torch.as_tensor(ids)), dim=-1))

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write ``config.json``, half-precision ``model.safetensors`` and the tokenizer."""
        directory.mkdir(parents=True, exist_ok=True)
        config = {"model_type": "clip_resnet", **asdict(self.config)}
        (directory / "config.json").write_text(json.dumps(config, indent=1))
        weights = {
            key.removeprefix("clip."): value.half().contiguous() if value.is_floating_point() else value
            for key, value in state.items()
            if key.startswith("clip.")
        }
        save_file(weights, directory / "model.tmp", metadata={"format": "pt"})
        (directory / "model.tmp").replace(directory / "model.safetensors")
        save_tokenizer(directory)

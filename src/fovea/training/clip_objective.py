"""The loss of the CLIP minis: names and colours of marked things, phrases, and dense labels for every place.

Pictures learn against free vectors, one for every name and colour, and the text tower learns to say these vectors. With
the text tower itself as the classifier pictures are learnt three times slower, because it has to learn to tell names
apart at the same time; and a plain linear classifier on the trunk teaches the trunk faster than any cosine
(docs/minis.md). So all three are trained at once, and only the towers are shipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
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


#: Weight of every part of the loss.
_WEIGHTS = {
    "name": 1.0,
    "colour": 0.3,
    "phrase": 0.4,
    "place": 0.5,
    "place_colour": 0.2,
    "probe": 1.0,
    "probe_colour": 0.3,
    "text": 2.0,
}


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """What one forward pass gives.

    Attributes:
        pooled: ``(B, E)`` picture embeddings.
        places: ``(P, E)`` embeddings of the places that have a label.
        probes: logits of the linear classifiers on the trunk for ``names`` and ``colours``, ``(P, .)`` each.
        words: the free vectors of ``names`` and ``colours``, ``(., E)`` each, of unit length.
        texts: what the text tower says for ``names``, ``colours`` and ``phrases``, likewise; for the names that the
            batch picked.
        scale: temperature, a scalar.
    """

    pooled: Tensor
    places: Tensor
    probes: dict[str, Tensor]
    words: dict[str, Tensor]
    texts: dict[str, Tensor]
    scale: Tensor


def clip_loss(output: TowerOutput, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """The whole loss and its parts; labels of the batch as in :class:`ClipScenes`."""

    classify = partial(F.cross_entropy, ignore_index=NO_LABEL)
    labelled = batch["place_names"] != NO_LABEL
    place_names, place_colours = batch["place_names"][labelled], batch["place_colours"][labelled]
    pooled = output.scale * F.normalize(output.pooled, dim=-1)
    places = output.scale * F.normalize(output.places, dim=-1)
    names, colours = output.words["names"], output.words["colours"]
    # One way: the text tower follows the vectors, and the vectors follow the pictures.
    wanted = {"names": names.detach()[batch["picked_names"]], "colours": colours.detach()}
    parts = {
        "name": classify(pooled @ names.t(), batch["names"]),
        "colour": classify(pooled @ colours.t(), batch["colours"]),
        "phrase": _phrase_loss(pooled @ output.texts["phrases"].t(), batch["names"]),
        "place": classify(places @ names.t(), place_names),
        "place_colour": classify(places @ colours.t(), place_colours),
        "probe": classify(output.probes["names"], place_names),
        "probe_colour": classify(output.probes["colours"], place_colours),
        "text": torch.cat([1 - (output.texts[key] * wanted[key]).sum(-1) for key in wanted]).mean(),
    }
    loss = torch.stack([_WEIGHTS[key] * value for key, value in parts.items()]).sum()
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
        self.probes = nn.ModuleDict({key: nn.Linear(clip.config.channels, count) for key, count in _WORDS.items()})

    def forward(self, batch: Batch) -> TowerOutput:
        features = self.clip.visual.stages(normalise(batch["pixels"]))[-1]
        pooled, places = self.clip.visual.attnpool(features)
        # Most places show the background; they teach nothing and are left out early.
        labelled = batch["place_names"] != NO_LABEL
        tokens = features.flatten(2).transpose(1, 2)[labelled]
        texts = {
            "names": self.clip.encode_text(batch["name_texts"]),
            "colours": self.clip.encode_text(batch["colour_texts"]),
            "phrases": self.clip.encode_text(batch["phrases"]),
        }
        return TowerOutput(
            pooled=pooled,
            places=places[labelled],
            probes={key: probe(tokens) for key, probe in self.probes.items()},
            words=_unit(dict(self.words.items())),
            texts=_unit(texts),
            # CLIP caps its temperature at 100.
            scale=self.clip.logit_scale.clamp(max=4.6).exp(),
        )


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
        return clip_loss(module(batch), batch)

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

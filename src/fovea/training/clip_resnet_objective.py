"""The training of mini-clip-resnet: names and colours of marked things, phrases, and dense labels for every place.

Pictures learn against free vectors, one for every name and colour, and the text tower learns to say these vectors. With
the text tower itself as the classifier pictures are learnt three times slower, because it has to learn to tell names
apart at the same time; and a plain linear classifier on the trunk teaches the trunk faster than any cosine
(docs/minis.md). So all three are trained at once, and only the towers are shipped.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig
from fovea.training.clip_loss import CLASSES, TowerOutput, clip_loss, normalise, unit
from fovea.training.clip_scenes import NO_LABEL, ClipScenes
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.settings import TrainSettings
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer, save_tokenizer


class _Tower(nn.Module):
    """One forward pass for everything a step needs, as data-parallel wrappers demand."""

    def __init__(self, clip: ClipResnet) -> None:
        super().__init__()
        self.clip = clip
        size = clip.config.embed_dim
        self.words = nn.ParameterDict(
            {key: nn.Parameter(torch.randn(count, size) / size**0.5) for key, count in CLASSES.items()}
        )
        self.probes = nn.ModuleDict({key: nn.Linear(clip.config.channels, count) for key, count in CLASSES.items()})

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
            words=unit(dict(self.words.items())),
            texts=unit(texts),
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

    @property
    def groups(self) -> list[WeightGroup]:
        """The convolutions behind the first one."""
        convolutions = [m for m in self.module.modules() if isinstance(m, nn.Conv2d)]
        return [WeightGroup([m.weight for m in convolutions[1:]], hidden=True)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes, crops and marks."""
        return ClipScenes(settings.seed, settings.steps, settings.batch_size, self.config.image_size, self.config.grid)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """See :func:`clip_loss`; the text tower follows the free vectors."""
        output = module(batch)
        loss, parts = clip_loss(output, batch)
        # One way: the text tower follows the vectors, and the vectors follow the pictures.
        wanted = {"names": output.words["names"][batch["picked_names"]], "colours": output.words["colours"]}
        text = torch.cat([1 - (output.texts[key] * wanted[key].detach()).sum(-1) for key in wanted]).mean()
        return loss + 2 * text, {**parts, "text": float(text.detach())}

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
        config = {"model_type": "clip_resnet", **asdict(self.config)}
        (directory / "config.json").write_text(json.dumps(config, indent=1))
        weights = {
            key.removeprefix("clip."): value.half().contiguous() if value.is_floating_point() else value
            for key, value in state.items()
            if key.startswith("clip.")
        }
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        save_tokenizer(directory)

"""The training of mini-clip: a ViT in the layout of Hugging Face's CLIPModel that learns from mini-clip-resnet.

A small ViT learns to see several times slower than a small ResNet. So the finished ResNet teaches it, place by place:
both towers have the same grid of places and the same embedding space. The text tower is the teacher's own, converted,
and stays as it is; the labels of scenes are learnt at the same time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import CLIPConfig, CLIPModel

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.backbones.clip_resnet import ResnetFiles, load_clip_resnet
from fovea.backbones.sources import MINIS
from fovea.networks.clip_resnet import ClipResnetConfig, hugging_face_text_tower
from fovea.training.clip_loss import CLASSES, TowerOutput, clip_loss, normalise, unit
from fovea.training.clip_scenes import NO_LABEL, TEMPLATES, ClipScenes
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.settings import TrainSettings
from fovea.training.vocabulary import build_tokenizer, save_tokenizer

# Weight of what the teacher says against what the labels say.
_TEACHER = 4.0


def mini_config(teacher: ClipResnetConfig) -> CLIPConfig:
    """Sizes of mini-clip: the teacher's picture size, token grid, embedding space and text tower."""
    tokenizer = build_tokenizer()
    width = 256
    return CLIPConfig(
        projection_dim=teacher.embed_dim,
        vision_config={
            "image_size": teacher.image_size,
            "patch_size": teacher.image_size // teacher.grid,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "hidden_act": "gelu",
        },
        text_config={
            "vocab_size": teacher.vocab_size,
            "hidden_size": teacher.text_width,
            "intermediate_size": 4 * teacher.text_width,
            "num_hidden_layers": teacher.text_layers,
            "num_attention_heads": teacher.text_heads,
            "max_position_embeddings": teacher.context_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )


class _Tower(nn.Module):
    """One forward pass of the student; the text tower is frozen."""

    def __init__(self, clip: CLIPModel, words: dict[str, Tensor]) -> None:
        super().__init__()
        self.clip = clip
        for part in (clip.text_model, clip.text_projection):
            part.requires_grad_(False)
        clip.logit_scale.requires_grad_(False)
        for key, vectors in words.items():
            self.register_buffer(f"word_{key}", vectors, persistent=False)
        width = clip.config.vision_config.hidden_size
        self.probes = nn.ModuleDict({key: nn.Linear(width, count) for key, count in CLASSES.items()})

    def forward(self, batch: Batch) -> tuple[TowerOutput, Tensor]:
        """What the loss needs, and the embeddings ``(B, G * G, E)`` of all places."""
        output = self.clip.vision_model(normalise(batch["pixels"]))
        tokens = self.clip.vision_model.post_layernorm(output.last_hidden_state[:, 1:])
        places = self.clip.visual_projection(tokens)
        labelled = batch["place_names"] != NO_LABEL
        seen = TowerOutput(
            pooled=self.clip.visual_projection(output.pooler_output),
            places=places[labelled],
            probes={key: probe(tokens[labelled]) for key, probe in self.probes.items()},
            words={key: self.get_buffer(f"word_{key}") for key in CLASSES},
            texts=unit({"phrases": self.clip.get_text_features(batch["phrases"]).pooler_output}),
            scale=self.clip.logit_scale.exp(),
        )
        return seen, places


class ClipVitObjective:
    """Trains ``mini-clip``."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        # Not part of the module: the teacher is neither trained nor saved.
        self.teacher = load_clip_resnet(ResnetFiles.own(MINIS / "mini-clip-resnet")).eval().requires_grad_(False)
        clip = CLIPModel._from_config(mini_config(self.teacher.config))
        clip.load_state_dict(hugging_face_text_tower(self.teacher.state_dict()), strict=False)
        clip.logit_scale.data.copy_(self.teacher.logit_scale)
        self.config = self.teacher.config
        self.module = _Tower(clip, self._words())

    @torch.no_grad()
    def _words(self) -> dict[str, Tensor]:
        """What the teacher's text tower says for every name and colour, over all templates."""
        data = ClipScenes(0, 1, 1, self.config.image_size, self.config.grid)

        def mean(tokens: Any, middle: str) -> Tensor:
            texts = [torch.as_tensor(tokens(template.format(middle))) for template in dict.fromkeys(TEMPLATES)]
            return torch.stack([F.normalize(self.teacher.encode_text(ids), dim=-1) for ids in texts]).mean(0)

        return unit({"names": mean(data.name_tokens, "the {}"), "colours": mean(data.colour_tokens, "the {} object")})

    @property
    def groups(self) -> list[WeightGroup]:
        """The matrices of the picture tower's blocks."""
        blocks = self.module.clip.vision_model.encoder
        weights = [m.weight for m in blocks.modules() if isinstance(m, nn.Linear)]
        return [WeightGroup(weights, hidden=True)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes, crops and marks."""
        return ClipScenes(settings.seed, settings.steps, settings.batch_size, self.config.image_size, self.config.grid)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss against the labels, and the distance to the teacher's embeddings of the picture and its places."""
        seen, places = module(batch)
        with torch.no_grad():
            wanted_pooled, wanted_places = self.teacher.to(places.device).visual(normalise(batch["pixels"]))
        loss, parts = clip_loss(seen, batch)
        pooled_gap = (1 - F.cosine_similarity(seen.pooled, wanted_pooled, dim=-1)).mean()
        places_gap = (1 - F.cosine_similarity(places, wanted_places, dim=-1)).mean()
        parts |= {"teacher": float(pooled_gap.detach()), "teacher_places": float(places_gap.detach())}
        return loss + _TEACHER * (pooled_gap + places_gap), parts

    def start_from(self, directory: Path) -> None:
        """Take the picture tower that :meth:`export` wrote; the text tower is always the teacher's of today."""
        weights = load_file(directory / "model.safetensors")
        tower = {key: value.float() for key, value in weights.items() if key.startswith("vis")}
        missing, unexpected = self.module.clip.load_state_dict(tower, strict=False)
        if unexpected or any(key.startswith("vis") for key in missing):
            raise RuntimeError(f"{directory} holds another picture tower")

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write a Hugging Face directory in half precision."""
        clip = CLIPModel._from_config(mini_config(self.config))
        clip.load_state_dict({k.removeprefix("clip."): v for k, v in state.items() if k.startswith("clip.")})
        clip.half().save_pretrained(directory)
        save_tokenizer(directory)
        pixels = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}
        (directory / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")

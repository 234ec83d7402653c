"""The training of a CLIP with an alpha plane, on regions and what is said of them (specs/alphaclip.md, 3).

The text tower and the temperature stay as they are, so that the picture tower fits wherever the CLIP fitted. The
convolution of the alpha plane starts at zero: training starts at the CLIP itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import AutoConfig, AutoTokenizer, CLIPModel

from fovea.backbones.clip import hub_pixel_statistics
from fovea.backbones.sources import fingerprint
from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import add_alpha, normalised_alpha
from fovea.training.adapters import add_adapters, merge_adapters
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.region_contrast import TextCache, gathered, region_contrast
from fovea.training.region_pairs import DescribedPictures, RegionPairs
from fovea.training.settings import AlphaSettings, TrainSettings


class AlphaTower(nn.Module):
    """The picture tower of a CLIP, with an alpha plane.

    Args:
        clip: whose picture tower has its fourth plane.
        mean: of its pixels, on the scale 0..1.
        std: deviation likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIPModel, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.vision, self.projection = clip.vision_model, clip.visual_projection
        add_alpha(self.vision)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    @property
    def alpha(self) -> Tensor:
        """The weight of the alpha plane's convolution."""
        weight: Tensor = self.vision.embeddings.patch_embedding.alpha.weight
        return weight

    def forward(self, pixels: Tensor, alpha: Tensor) -> Tensor:
        """Embed regions.

        Args:
            pixels: ``(B, S, S, 3)`` uint8.
            alpha: ``(B, S, S)`` float32, 0..1.

        Returns:
            ``(B, D)`` of unit length.
        """
        colours = (pixels.float() / 255 - self.mean) / self.std
        return self.embed(torch.cat([colours, normalised_alpha(alpha)[..., None]], -1).permute(0, 3, 1, 2))

    def embed(self, planes: Tensor) -> Tensor:
        """The same from planes ``(B, 4, S, S)`` that are already normalised."""
        return F.normalize(self.projection(self.vision(planes).pooler_output), dim=-1)


class AlphaObjective:
    """Gives a CLIP its alpha plane, or trains one on.

    Nothing can be asked of it before :meth:`start_from`.

    Args:
        settings: how it learns.
        pictures: with described regions, by number.
    """

    module: AlphaTower

    def __init__(self, settings: AlphaSettings, pictures: DescribedPictures) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.pictures = settings, pictures

    def start_from(self, directory: Path) -> None:
        """Take a CLIP of transformers, with or without an alpha plane, and its tokenizer.

        Args:
            directory: or a name on the model hub.

        Raises:
            CheckpointError: it is no CLIP with a vision transformer.
            OSError: a file cannot be had.
        """
        self.clip, self._dtype = _read(directory)
        #: Whose text tower and temperature are trained against.
        self.models = fingerprint(str(directory))
        self.mean, self.std = hub_pixel_statistics(str(directory))
        self.tokenizer = AutoTokenizer.from_pretrained(str(directory))
        self.clip.requires_grad_(False)
        # Neither is part of the module, and neither is trained: what says texts, and the tower as it was.
        self.texts = TextCache(self._encode_texts)
        self.module = AlphaTower(self.clip, self.mean, self.std)
        self._before = copy.deepcopy(self.module).eval() if self.settings.keep else None
        if self.settings.lora_rank:
            add_adapters(self.module, self.settings.lora_rank)
            self.module.alpha.requires_grad_(True)
        else:
            self.module.requires_grad_(True)

    def _encode_texts(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.clip.to(ids.device).get_text_features(ids).pooler_output
        return embedded

    @property
    def groups(self) -> list[WeightGroup]:
        """The alpha plane's convolution, which is new, learns faster than the tower."""
        tower = [p for p in self.module.parameters() if p.requires_grad and p is not self.module.alpha]
        layers = [m.weight for m in self.module.vision.encoder.modules() if isinstance(m, nn.Linear)]
        hidden = {id(weight) for weight in layers if weight.requires_grad}
        factor = self.settings.rest_factor
        return [
            WeightGroup([p for p in tower if id(p) in hidden], factor, hidden=True),
            WeightGroup([p for p in tower if id(p) not in hidden], factor),
        ]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Regions and texts."""
        return RegionPairs(
            self.pictures,
            self.tokenizer,
            seed=settings.seed,
            steps=settings.steps,
            batch_size=settings.batch_size,
            size=self.clip.config.vision_config.image_size,
            whole_share=self.settings.whole_share,
            fit=self.settings.fit,
            context_length=self.clip.config.text_config.max_position_embeddings,
            smallest_crop=self.settings.smallest_crop,
        )

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The contrast, and how far whole pictures have moved where the settings ask."""
        seen = module(batch["pixels"], batch["alpha"])
        texts = self.texts(batch["ids"], batch["keys"])
        pictures, texts, keys = gathered(seen), gathered(texts), gathered(batch["keys"])
        scale = self.clip.logit_scale.detach().exp().to(seen.device)
        contrast = region_contrast(pictures, texts, keys, scale, self.settings.smoothing)
        # Whether the nearest text is the right one, or equal to it.
        right = keys[(pictures.detach() @ texts.t()).argmax(1)] == keys
        parts = {"contrast": float(contrast.detach()), "right": float(right.float().mean())}
        if self._before is None:
            return contrast, parts
        moved = self._moved(seen, batch)
        return contrast + self.settings.keep * moved, {**parts, "moved": float(moved.detach())}

    def _moved(self, seen: Tensor, batch: Batch) -> Tensor:
        """Mean cosine distance of the samples that are whole pictures to what the tower said of them before."""
        whole = batch["whole"]
        if self._before is None or not whole.any():
            return seen.sum() * 0
        with torch.no_grad():
            before = self._before.to(seen.device)(batch["pixels"][whole], batch["alpha"][whole])
        return (1 - F.cosine_similarity(seen[whole], before, dim=-1)).mean()

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write a CLIP of transformers with an alpha plane, in the type that the CLIP had; adapters are merged."""
        from fovea.networks.alpha_clip_weights import save_alpha_clip

        tower = copy.deepcopy(self.module).cpu()
        tower.load_state_dict(state)
        merge_adapters(tower)
        clip = copy.deepcopy(self.clip).cpu()
        clip.vision_model, clip.visual_projection = tower.vision, tower.projection
        pixels = {"image_mean": list(self.mean), "image_std": list(self.std)}
        save_alpha_clip(clip.to(self._dtype), directory, self.tokenizer, pixels)


def _read(directory: Path) -> tuple[CLIPModel, torch.dtype]:
    """A CLIP in float32, and the type of its file."""
    source = str(directory)
    config = AutoConfig.from_pretrained(source)
    if config.model_type != "clip":
        raise CheckpointError(f"{directory} is a {config.model_type} model", "name a CLIP with a vision transformer")
    if getattr(config, "alpha", False):
        from fovea.backbones.alpha_clip import local_directory
        from fovea.networks.alpha_clip_weights import read_alpha_clip

        clip = read_alpha_clip(local_directory(source))
    else:
        clip = CLIPModel.from_pretrained(source)
    return clip.float(), config.dtype or torch.float32

"""The training of RegionSpot's head on tokens that were computed before (specs/regionspot.md, 6, 7).

Neither pictures nor frozen models are needed in a step; the CLIP's text tower reads the names once, at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import Dataset

from fovea.backbones.clip import load_clip
from fovea.backbones.region_spot import ClipPlaces
from fovea.backbones.region_spot_files import RegionSpotSettings, open_region_spot, save_region_spot
from fovea.backbones.sam_tokens import known_token_kind
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.backbones.text_bank import TextBank
from fovea.datasets.region_tokens import PictureTokens, TokenShards
from fovea.errors import CheckpointError, DataError
from fovea.evaluation.region_naming import mean_average_precision, top1
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.training.focal_loss import region_loss
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.region_spot_settings import HeadSettings
from fovea.training.region_spot_start import start_from_places
from fovea.training.region_token_batches import RegionTokenBatches, collate, split_pictures
from fovea.training.settings import TrainSettings

# What has to agree between data sets that train one head, as about.json has it.
_SHARED = ("models", "sam weights", "clip weights", "clip_size", "positions", "token_kind")

# Pictures measured in one pass.
_AT_ONCE = 32

# Pictures that a start from places is computed from: thousands of boxes, for some hundred numbers each.
_TO_START = 300

#: Names to their vectors ``(C, t)`` of unit length.
TextVectors = Callable[[Sequence[str]], Tensor]


class RegionSpotObjective:
    """Trains a head.

    Args:
        settings: how.
        sets: tokens of one or several data sets, made with the same models.
        texts: says names in CLIP's space.
        scale: that multiplies cosines, CLIP's own.
        readout: CLIP's map from tokens to texts, weight and bias; needed where the head starts from places.

    Raises:
        DataError: the data sets were made with different models, or one has no pictures.
    """

    def __init__(
        self,
        settings: HeadSettings,
        sets: Sequence[TokenShards],
        texts: TextVectors,
        scale: float,
        readout: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.settings, self.sets, self.scale = settings, sets, scale
        self.about = _shared(sets)
        self.token_kind = known_token_kind(self.about["token_kind"])
        torch.manual_seed(settings.seed)
        splits = [split_pictures(len(one), settings.held_out) for one in sets]
        self.learnt, self.held = [learnt for learnt, _ in splits], [held for _, held in splits]
        # Refuses what is empty before a text is read.
        self.batches(settings)
        first = sets[0][int(self.learnt[0][0])]
        self.texts = [texts(one.vocabulary).float() for one in sets]
        self.config = RegionSpotConfig(
            clip_width=first.places.shape[-1],
            text_width=self.texts[0].shape[-1],
            token_width=first.tokens.shape[-1],
            depth=settings.depth,
            heads=settings.heads,
            hidden=settings.hidden,
            class_token=settings.class_token,
            places=settings.places,
        )
        self.module = RegionSpotHead(self.config, settings.dropout)
        self.positions = int(self.about["positions"] or 0)
        if settings.start == "places":
            if readout is None:
                raise ValueError("a start from places needs the CLIP's readout")
            some = [sets[0][int(number)] for number in self.learnt[0][:_TO_START]]
            start_from_places(self.module, some, self.positions, readout)

    @property
    def models(self) -> str:
        """What the tokens were made with; a head belongs to it."""
        return ", ".join(f"{key} {self.about[key]}" for key in _SHARED[1:])

    @property
    def groups(self) -> Sequence[WeightGroup]:
        """None: all weights learn alike."""
        return ()

    def optimizers(self, settings: TrainSettings) -> list[Optimizer]:
        """As released: one AdamW for all weights, which decays biases and norms too."""
        return [AdamW(self.module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Pictures of one data set each."""
        return RegionTokenBatches(
            self.sets,
            self.learnt,
            steps=settings.steps,
            batch_size=settings.batch_size,
            seed=settings.seed,
            repeat=self.settings.reduction == "upstream",
        )

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss over the vocabulary of the batch, and how often the best class is the right one."""
        logits = self._logits(module, batch, self.texts[int(batch["vocabulary"])])
        labels, padding = batch["labels"], batch["padding"]
        right = (logits.argmax(-1) == labels)[~padding].float().mean()
        if self.settings.loss == "softmax":
            return F.cross_entropy(logits[~padding], labels[~padding]), {"top1": float(right)}
        loss = region_loss(logits, labels, padding, reduction=self.settings.reduction)
        return loss, {"top1": float(right)}

    def _logits(self, module: nn.Module, batch: Batch, texts: Tensor) -> Tensor:
        places, context = batch["places"].float(), self.settings.context
        vectors: Tensor = module(batch["tokens"], places, batch["padding"], context)
        # They reach a hundred, of which half precision knows only every eighth part.
        return self.scale * vectors.float() @ texts.to(vectors.device).t()

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """How well the boxes of held-out pictures are named among all names of their data set.

        Returns:
            ``ap``, the mean average precision over classes with softmax scores (what the best model is chosen by), and
            ``top1``; means over data sets. Empty where nothing is held out.
        """
        device = next(module.parameters()).device
        found = []
        for one, held, texts in zip(self.sets, self.held, self.texts, strict=True):
            scores, labels = [], []
            for pictures in _groups(one, held):
                batch = {key: torch.from_numpy(value).to(device) for key, value in collate(pictures).items()}
                logits = self._logits(module, batch, texts)[~batch["padding"]]
                scores.append(logits.softmax(-1).cpu().numpy())
                labels.append(batch["labels"][~batch["padding"]].cpu().numpy())
            if labels:
                known = np.concatenate(scores), np.concatenate(labels)
                found.append({"ap": mean_average_precision(*known), "top1": top1(*known)})
        return {key: float(np.mean([each[key] for each in found])) for key in found[0]} if found else {}

    def start_from(self, directory: Path) -> None:
        """Take the weights that :meth:`export` wrote: the second stage of a training.

        Raises:
            CheckpointError: it is no head, or was trained with other models than the tokens were made with.
        """
        head, settings, name = open_region_spot(str(directory))
        sources = resolve_models(self.settings.models or self.about["models"])
        # Heads say which models are theirs by name or by fingerprint; tokens always by the latter.
        clip = "" if settings.clip == self.about["clip weights"] else sources.clips[0]
        sam = "" if settings.sam == self.about["sam weights"] else sources.sam
        settings.check_models(name, clip, sam)
        trained = settings.clip_size, settings.positions, settings.token_kind
        if trained != (self.about["clip_size"], self.positions, self.token_kind):
            raise CheckpointError(
                f"{name} sees pictures of {settings.clip_size} px with {settings.positions} channels of position, "
                f"and SAM's tokens of kind {settings.token_kind}",
                "make tokens of these, or leave --from out",
            )
        self.module.load_state_dict(head.state_dict())

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write the head, and what it was trained with."""
        head = RegionSpotHead(self.config)
        head.load_state_dict(state)
        settings = RegionSpotSettings(
            self.config,
            clip=self.about["clip weights"],
            clip_size=self.about["clip_size"],
            sam=self.about["sam weights"],
            templates=self.settings.templates,
            names=tuple(dict.fromkeys(name for one in self.sets for name in one.vocabulary)),
            positions=self.positions,
            token_kind=self.token_kind,
        )
        save_region_spot(head, settings, directory)


def _groups(one: TokenShards, numbers: np.ndarray) -> Iterator[list[PictureTokens]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield [one[int(number)] for number in numbers[start : start + _AT_ONCE]]


def _shared(sets: Sequence[TokenShards]) -> dict[str, Any]:
    """What data sets have in common, and have to."""
    about = [{key: one.about.get(key) for key in _SHARED} for one in sets]
    for one, other in zip(sets, about, strict=True):
        differs = [key for key in _SHARED[1:] if other[key] != about[0][key]]
        if differs:
            raise DataError(
                f"{one.directory} and {sets[0].directory} were made with different {differs[0]}", "make them alike"
            )
    return about[0]


def head_objective(settings: HeadSettings, sets: Sequence[TokenShards]) -> RegionSpotObjective:
    """The objective, with the CLIP that the tokens were made with.

    Raises:
        CheckpointError: that CLIP is not the one that is named.
        DataError: as of the objective.
    """
    source = resolve_models(settings.models or sets[0].about["models"]).clips[0]
    weights = fingerprint(source)
    if weights != sets[0].about.get("clip weights"):
        raise CheckpointError(
            f"{sets[0].directory} was made with other weights than those of {source}", "set models to the CLIP it was"
        )
    clip = load_clip(source)
    bank = TextBank(clip, settings.templates, fingerprint=lambda: weights)
    about = sets[0].about
    places = ClipPlaces(clip, about["clip_size"] or clip.image_size, positions=about.get("positions") or 0)
    return RegionSpotObjective(
        settings,
        sets,
        lambda names: torch.from_numpy(bank.vectors(names)),
        float(clip.logit_scale),
        places.readout(),
    )

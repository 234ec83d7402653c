"""The trainings by name, with good settings for one run from nothing.

How the shipped weights came about, in legs of other lengths, stands beside them in ``fovea/minis/*/README.md``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.errors import CheckpointError, DataError, ExpressionError, MissingExtraError
from fovea.training.region_spot_settings import RegionSpotSettings
from fovea.training.settings import TrainSettings

if TYPE_CHECKING:
    from fovea.training.loop import Objective


@dataclass(frozen=True)
class Training:
    """A training that can be run.

    Attributes:
        name: of the mini.
        settings: how long and how fast.
        build: makes the objective from the settings, and from the data where it needs some.
        needs_data: what the data are, for trainings that do not learn from scenes; empty otherwise.
    """

    name: str
    settings: TrainSettings
    build: Callable[[Any, Any], Objective]
    needs_data: str = ""

    def describe(self, directory: Path) -> str:
        """What would be run."""
        settings = json.dumps(dataclasses.asdict(self.settings), indent=1)
        return f"{self.name}, into {directory}, with the settings\n{settings}"

    def run(self, directory: Path, start: Path | None = None, data: Path | None = None) -> None:
        """Run it to its end, from its last checkpoint where there is one.

        Args:
            directory: receives checkpoints, log and model.
            start: a model directory whose weights a new run starts from, instead of random ones.
            data: what it learns from, for trainings that need it; several folders are separated by commas.

        Raises:
            DataError: there are no data, or there should be none.
        """
        if self.needs_data and data is None:
            raise DataError(f"{self.name} learns from {self.needs_data}", "name their folder with --data")
        if data is not None and not self.needs_data:
            raise DataError(f"{self.name} learns from scenes, not from data", "leave --data out")
        try:
            from fovea.training.loop import train
        except ImportError as error:
            raise MissingExtraError("training", "train") from error
        objective = self.build(self.settings, data)
        if start is not None:
            try:
                objective.start_from(start)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"{start} holds no weights of {self.name}", "pass a model directory") from error
        train(objective, self.settings, directory)


def _clip_resnet(settings: TrainSettings, _: Path | None) -> Objective:
    from fovea.training.clip_resnet_objective import ClipResnetObjective

    return ClipResnetObjective(settings.seed)


def _clip_vit(settings: TrainSettings, _: Path | None) -> Objective:
    from fovea.training.clip_vit_objective import ClipVitObjective

    return ClipVitObjective(settings.seed)


def _sam(settings: TrainSettings, _: Path | None) -> Objective:
    from fovea.training.sam_objective import SamObjective

    return SamObjective(settings.seed)


def _itm(settings: TrainSettings, _: Path | None) -> Objective:
    from fovea.training.itm_objective import ItmObjective

    return ItmObjective(settings.seed)


def _region_spot(settings: RegionSpotSettings, data: Path) -> Objective:
    from fovea.backbones.clip import load_clip
    from fovea.backbones.sources import fingerprint, resolve_models
    from fovea.datasets.region_tokens import TokenShards
    from fovea.training.region_spot_objective import RegionSpotObjective, mean_vectors

    sets = [TokenShards(Path(part)) for part in str(data).split(",")]
    source = resolve_models(settings.models or sets[0].about["models"]).clips[0]
    if fingerprint(source) != sets[0].about.get("clip weights"):
        raise CheckpointError(
            f"{sets[0].directory} was made with other weights than those of {source}", "set models to the CLIP it was"
        )
    clip = load_clip(source)
    return RegionSpotObjective(settings, sets, partial(mean_vectors, clip, settings.templates), clip.logit_scale)


# What RegionSpot's trainings learn from.
_TOKENS = "tokens of regions (fovea data tokens)"

#: Every training by name.
TRAININGS: dict[str, Training] = {
    training.name: training
    for training in (
        Training("mini-clip-resnet", TrainSettings(steps=1500, batch_size=64, lr=1.2e-3, muon_lr=0.025), _clip_resnet),
        Training("mini-clip", TrainSettings(steps=1500, batch_size=64, lr=1e-3, muon_lr=0.02), _clip_vit),
        Training(
            "mini-sam", TrainSettings(steps=4400, batch_size=8, lr=1e-3, muon_lr=0.003, warmup=150, log_every=50), _sam
        ),
        Training("mini-itm", TrainSettings(steps=2000, batch_size=32, lr=1.2e-3, muon_lr=0.01), _itm),
        Training(
            "mini-region-spot",
            RegionSpotSettings(
                steps=4000,
                batch_size=32,
                lr=1e-3,
                warmup=100,
                average_decay=0.998,
                evaluate_every=500,
                hidden=512,
                held_out=200,
                templates=("a photo of the {}", "the {}"),
            ),
            _region_spot,
            needs_data=_TOKENS,
        ),
        Training(
            "region-spot",
            RegionSpotSettings(steps=450_000, batch_size=16, lr=2.5e-5, milestones=(350 / 450, 420 / 450)),
            _region_spot,
            needs_data=_TOKENS,
        ),
    )
}


def resolve_training(name: str, config: Path | None = None) -> Training:
    """A training by name, with single settings replaced by those of a JSON file.

    Raises:
        ExpressionError: there is no such training.
        DataError: the file is missing, no JSON, or names an unknown setting.
    """
    if name not in TRAININGS:
        raise ExpressionError(f"there is no training called {name!r}", f"known are {', '.join(TRAININGS)}")
    training = TRAININGS[name]
    if config is None:
        return training
    try:
        changes = json.loads(config.read_text(encoding="utf-8"))
        return dataclasses.replace(training, settings=dataclasses.replace(training.settings, **changes))
    except OSError as error:
        raise DataError(f"{config} cannot be read", "check the path") from error
    except (ValueError, TypeError) as error:
        known = ", ".join(field.name for field in dataclasses.fields(training.settings))
        raise DataError(f"{config} is no set of training settings: {error}", f"known are {known}") from error

"""The trainings by name, with good settings for one run from nothing.

How the shipped weights came about, in legs of other lengths, stands beside them in ``fovea/minis/*/README.md``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.backbones.sources import MINIS
from fovea.errors import CheckpointError, DataError, ExpressionError, MissingExtraError
from fovea.training.settings import AlphaSettings, TrainSettings

if TYPE_CHECKING:
    from fovea.training.loop import Objective


@dataclass(frozen=True)
class Training:
    """A training that can be run.

    Attributes:
        name: of the mini.
        settings: how long and how fast.
        build: makes the objective from the settings, and from the folder of data where it needs one.
        needs_data: whether it learns from a folder of described pictures, and not from scenes.
        needs_start: whether it starts from a model that has to be named.
        start: the model that it starts from where none is named; None starts at random.
    """

    name: str
    settings: TrainSettings
    build: Callable[[Any, Any], Objective]
    needs_data: bool = False
    needs_start: bool = False
    start: Path | None = None

    def describe(self, directory: Path, start: Path | None = None, data: Path | None = None) -> str:
        """What would be run.

        Raises:
            DataError: there are no data, or there should be none.
            CheckpointError: the model to start from is not named.
        """
        start = self._check(start, data)
        settings = json.dumps(dataclasses.asdict(self.settings), indent=1)
        begin = "" if start is None else f", from {start}"
        return f"{self.name}{begin}, into {directory},{_counted(data)} with the settings\n{settings}"

    def run(self, directory: Path, start: Path | None = None, data: Path | None = None) -> None:
        """Run it to its end, from its last checkpoint where there is one.

        Args:
            directory: receives checkpoints, log and model.
            start: a model directory whose weights a new run starts from, instead of random ones.
            data: a folder of described pictures, for trainings that need one.

        Raises:
            DataError: there are no data, or there should be none.
            CheckpointError: the model to start from is not named, or is of another kind.
        """
        start = self._check(start, data)
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

    def _check(self, start: Path | None, data: Path | None) -> Path | None:
        """The model to start from, once all that is needed is named."""
        if self.needs_data and data is None:
            raise DataError(f"{self.name} learns from described pictures", "name their folder with --data")
        if data is not None and not self.needs_data:
            raise DataError(f"{self.name} learns from scenes, not from data", "leave --data out")
        if self.needs_start and start is None:
            raise CheckpointError(f"{self.name} starts from a CLIP", "name its directory with --from")
        return start or self.start


def _counted(data: Path | None) -> str:
    """How much there is to learn from."""
    if data is None:
        return ""
    from fovea.datasets.region_text_shards import ShardIndex

    index = ShardIndex(data)
    return f" on {len(index)} pictures ({index.captions} with captions) with {index.regions} regions,"


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


def _alpha(settings: AlphaSettings, data: Path) -> Objective:
    from fovea.datasets.region_text_shards import ShardIndex
    from fovea.training.alpha_objective import AlphaObjective

    return AlphaObjective(settings, ShardIndex(data))


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
            "mini-alpha-clip",
            # After trials of fifty steps, in which several settings differed at once (docs/alpha-training.md).
            AlphaSettings(
                steps=700,
                batch_size=64,
                lr=2e-4,
                muon_lr=0.003,
                warmup=20,
                rest_factor=1.0,
                whole_share=0.2,
                smoothing=0.0,
                keep=10.0,
            ),
            _alpha,
            needs_data=True,
            start=MINIS / "mini-clip",
        ),
        Training(
            "alpha-clip", AlphaSettings(steps=5000, batch_size=64, lr=2e-4), _alpha, needs_data=True, needs_start=True
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

"""The trainings by name, with good settings for one run from nothing.

How the shipped weights came about, in legs of other lengths, stands beside them in ``fovea/minis/*/README.md``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.errors import CheckpointError, DataError, ExpressionError, MissingExtraError
from fovea.training.settings import TrainSettings

if TYPE_CHECKING:
    from fovea.training.loop import Objective


@dataclass(frozen=True)
class Training:
    """A training that can be run.

    Attributes:
        name: of the mini.
        settings: how long and how fast.
        build: makes the objective from the seed.
    """

    name: str
    settings: TrainSettings
    build: Callable[[int], Objective]

    def describe(self, directory: Path) -> str:
        """What would be run."""
        settings = json.dumps(dataclasses.asdict(self.settings), indent=1)
        return f"{self.name}, into {directory}, with the settings\n{settings}"

    def run(self, directory: Path, start: Path | None = None) -> None:
        """Run it to its end, from its last checkpoint where there is one.

        Args:
            directory: receives checkpoints, log and model.
            start: a model directory whose weights a new run starts from, instead of random ones.
        """
        try:
            from fovea.training.loop import train
        except ImportError as error:
            raise MissingExtraError("training", "train") from error
        objective = self.build(self.settings.seed)
        if start is not None:
            try:
                objective.start_from(start)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"{start} holds no weights of {self.name}", "pass a model directory") from error
        train(objective, self.settings, directory)


def _clip_resnet(seed: int) -> Objective:
    from fovea.training.clip_resnet_objective import ClipResnetObjective

    return ClipResnetObjective(seed)


def _clip_vit(seed: int) -> Objective:
    from fovea.training.clip_vit_objective import ClipVitObjective

    return ClipVitObjective(seed)


def _sam(seed: int) -> Objective:
    from fovea.training.sam_objective import SamObjective

    return SamObjective(seed)


def _itm(seed: int) -> Objective:
    from fovea.training.itm_objective import ItmObjective

    return ItmObjective(seed)


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
        known = ", ".join(field.name for field in dataclasses.fields(TrainSettings))
        raise DataError(f"{config} is no set of training settings: {error}", f"known are {known}") from error

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

from fovea.backbones.sources import MINIS, named_source
from fovea.errors import CheckpointError, DataError, ExpressionError, MissingExtraError
from fovea.training.pin_settings import PinSettings
from fovea.training.region_spot_settings import HeadSettings
from fovea.training.settings import AlphaSettings, TrainSettings

if TYPE_CHECKING:
    from fovea.datasets.region_tokens import TokenShards
    from fovea.training.loop import Objective


@dataclass(frozen=True)
class Needed:
    """Data that a training learns from, where scenes do not do.

    Attributes:
        what: they are.
        count: says how much there is of them.
        instead: what is learnt from where none are named; empty where some have to be.
    """

    what: str
    count: Callable[[Path], str]
    instead: str = ""


@dataclass(frozen=True)
class Training:
    """A training that can be run.

    Attributes:
        name: of the mini.
        settings: how long and how fast.
        build: makes the objective from the settings, and from the data where it needs some.
        data: what the data are; None for trainings that learn from scenes.
        needs_start: the model that it starts from where one has to be named, such as a CLIP; empty otherwise.
        start: the model that it starts from where none is named; None starts at random.
    """

    name: str
    settings: TrainSettings
    build: Callable[[Any, Any], Objective]
    data: Needed | None = None
    needs_start: str = ""
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
        much = "" if self.data is None else f" on {self.data.instead if data is None else self.data.count(data)},"
        return f"{self.name}{begin}, into {directory},{much} with the settings\n{settings}"

    def run(self, directory: Path, start: Path | None = None, data: Path | None = None) -> None:
        """Run it to its end, from its last checkpoint where there is one.

        Args:
            directory: receives checkpoints, log and model.
            start: a model directory whose weights a new run starts from, instead of random ones.
            data: what it learns from, for trainings that need it; several folders of tokens are separated by commas.

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
        instead = "scenes" if self.data is None else self.data.instead
        train(objective, self.settings, directory, instead if data is None else str(data))

    def _check(self, start: Path | None, data: Path | None) -> Path | None:
        """The model to start from, once all that is needed is named."""
        if self.data is not None and data is None and not self.data.instead:
            raise DataError(f"{self.name} learns from {self.data.what}", "name their folder with --data")
        if data is not None and self.data is None:
            raise DataError(f"{self.name} learns from scenes, not from data", "leave --data out")
        if self.needs_start and start is None:
            raise CheckpointError(f"{self.name} starts from {self.needs_start}", "name its directory with --from")
        return self.start if start is None else Path(named_source(str(start)))


def _count_described(data: Path) -> str:
    from fovea.datasets.region_text_shards import ShardIndex

    index = ShardIndex(data)
    return f"{len(index)} pictures ({index.captions} with captions) with {index.regions} regions"


def _count_tokens(data: Path) -> str:
    sets = _token_sets(data)
    return f"{sum(map(len, sets))} pictures of {len(sets)} data sets"


def _count_cut_outs(data: Path) -> str:
    from fovea.training.pin_data import count_cut_outs

    return count_cut_outs(data)


_DESCRIBED = Needed("described pictures (fovea data rgba)", _count_described)
_TOKENS = Needed("tokens of regions (fovea data tokens)", _count_tokens)
_CUT_OUTS = Needed("cut-outs (fovea data cutouts)", _count_cut_outs, instead="pasted glyphs")


def _token_sets(data: Path) -> list[TokenShards]:
    from fovea.datasets.region_tokens import TokenShards

    return [TokenShards(Path(part)) for part in str(data).split(",")]


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


def _vlm(settings: TrainSettings, _: Path | None) -> Objective:
    from fovea.training.vlm_objective import VlmObjective

    objective = VlmObjective(settings.seed)
    objective.start(settings)
    return objective


def _alpha(settings: AlphaSettings, data: Path) -> Objective:
    from fovea.datasets.region_text_shards import ShardIndex
    from fovea.training.alpha_objective import AlphaObjective

    return AlphaObjective(settings, ShardIndex(data))


def _region_spot(settings: HeadSettings, data: Path) -> Objective:
    from fovea.training.region_spot_objective import head_objective

    return head_objective(settings, _token_sets(data))


def _pin(settings: PinSettings, data: Path | None) -> Objective:
    from fovea.training.pin_data import pastings
    from fovea.training.pin_objective import PinObjective

    return PinObjective(settings, lambda size, cells: pastings(settings, data, size, cells))


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
            "mini-vlm",
            TrainSettings(
                steps=3400,
                batch_size=32,
                lr=1.5e-3,
                muon_lr=0.02,
                average_decay=0.99,
                precision="bf16",
                evaluate_every=200,
            ),
            _vlm,
        ),
        Training(
            "mini-alpha-clip",
            AlphaSettings(
                steps=2000,
                batch_size=64,
                lr=6e-4,
                muon_lr=0.01,
                warmup=20,
                average_decay=0.99,
                rest_factor=1.0,
                whole_share=0.1,
                smoothing=0.0,
                keep=6.0,
                smallest_crop=0.6,
            ),
            _alpha,
            data=_DESCRIBED,
            start=MINIS / "mini-clip",
        ),
        Training(
            "alpha-clip",
            AlphaSettings(steps=5000, batch_size=64, lr=2e-4),
            _alpha,
            data=_DESCRIBED,
            needs_start="a CLIP",
        ),
        Training(
            "mini-region-spot",
            HeadSettings(
                steps=160,
                batch_size=16,
                lr=3e-4,
                warmup=20,
                average_decay=0.95,
                log_every=20,
                evaluate_every=20,
                depth=2,
                hidden=256,
                dropout=0.0,
                start="places",
                loss="softmax",
                held_out=100,
                templates=("a photo of the {}", "the {}"),
            ),
            _region_spot,
            data=_TOKENS,
        ),
        Training(
            "region-spot",
            HeadSettings(steps=450_000, batch_size=16, lr=2.5e-5, milestones=(350 / 450, 420 / 450)),
            _region_spot,
            data=_TOKENS,
        ),
        Training(
            "mini-pin",
            PinSettings(steps=600, batch_size=32, average_decay=0.98, evaluate_every=100),
            _pin,
            data=_CUT_OUTS,
            start=MINIS / "mini-vlm",
        ),
        # 160 times 60,000 pictures, as published.
        Training("pin", PinSettings(steps=150_000), _pin, data=_CUT_OUTS, needs_start="a captioner"),
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
    known = [field.name for field in dataclasses.fields(training.settings)]
    try:
        changes = json.loads(config.read_text(encoding="utf-8"))
        unknown = [key for key in changes if key not in known]
        if unknown:
            raise DataError(f"{config} states {unknown[0]!r}, which is no setting", f"known are {', '.join(known)}")
        return dataclasses.replace(training, settings=dataclasses.replace(training.settings, **changes))
    except OSError as error:
        raise DataError(f"{config} cannot be read", "check the path") from error
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{config} is no set of training settings: {error}", "mend that value, or leave it out"
        ) from error

"""From settings to what describes a picture, in whatever process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fovea.backbones.models import Models
from fovea.backbones.sources import resolve_models
from fovea.datasets.region_texts import DescribedPicture
from fovea.errors import DataError
from fovea.pipelines.classified import Ranking, describe_candidate, score_classified
from fovea.pipelines.grounding import describe_grounded
from fovea.pipelines.output import Row
from fovea.pipelines.records import Candidate, Content, Grounded
from fovea.pipelines.run import Describe
from fovea.proposers.grid_settings import GridSettings
from fovea.recipes.loading import resolve_grid

if TYPE_CHECKING:
    from fovea.backbones.captioner import Captioner
    from fovea.proposers.sam_grid import SamGrid

#: Points per side of SAM's grid for photographs (specs/alphaclip.md, 8); the minis have a grid of their own.
POINTS_PER_SIDE = 16

#: In place of a captioner: texts name the class and no more.
NO_CAPTIONER = "none"


@dataclass(frozen=True)
class Settings:
    """What the data depend on, beside the pictures.

    Attributes:
        models: a SAM, and a CLIP for classified pictures, as ``--models`` names them.
        captioner: directory or hub name of a BLIP-2, or ``none``.
        points_per_side: of SAM's grid; None for what suits the models.
        per_picture: candidates of a classified picture at most.
        ranking: which candidates are kept.
        device: a torch device or ``auto``.
        dtype: of weights and arithmetic.
    """

    models: str = "mini"
    captioner: str = NO_CAPTIONER
    points_per_side: int | None = None
    per_picture: int = 3
    ranking: Ranking = field(default_factory=Ranking)
    device: str = "auto"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not 0 < self.ranking.share <= 1:
            raise DataError(f"a share of {self.ranking.share:g} cannot be kept", "give --keep from 0 to 1, such as 0.5")

    @property
    def grid(self) -> GridSettings:
        """How pictures are searched for what stands out."""
        sources = resolve_models(self.models)
        usual = None if sources.embedded else POINTS_PER_SIDE
        return resolve_grid(sources, points_per_side=self.points_per_side or usual)


@dataclass(frozen=True)
class PictureDescriber:
    """A :class:`fovea.pipelines.run.Describer` for all kinds of pictures.

    Attributes:
        settings: of the run.
        thresholds: from which score on candidates of each class are kept; needed for the second pass only.
    """

    settings: Settings
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def open(self) -> Describe:
        """See :class:`fovea.pipelines.run.Describer`. Each model is loaded when the first picture needs it."""
        return _Describing(self.settings, self.thresholds)


class _Describing:
    def __init__(self, settings: Settings, thresholds: Mapping[str, float]) -> None:
        self._settings, self._thresholds = settings, thresholds
        self._models = Models(settings.models, device=settings.device, dtype=settings.dtype)

    @cached_property
    def _finder(self) -> SamGrid:
        from fovea.proposers.sam_grid import SamGrid

        return SamGrid(self._models.segmenter, self._settings.grid)

    @cached_property
    def _captioner(self) -> Captioner | None:
        from fovea.backbones.captioner import load_captioner

        name = self._settings.captioner
        return None if name == NO_CAPTIONER else load_captioner(name, self._models.device, self._models.dtype)

    def __call__(self, key: str, content: Content) -> tuple[DescribedPicture, Row]:
        if isinstance(content, Grounded):
            described, left_out = describe_grounded(key, content, self._models.segmenter)
            return described, {"left_out": left_out} if left_out else {}
        if isinstance(content, Candidate):
            return describe_candidate(content, self._thresholds, self._captioner), {}
        described = score_classified(key, content, self._finder, self._models.clips, self._settings.per_picture)
        return described, {"class": content.name, "scores": [region.score for region in described.regions]}

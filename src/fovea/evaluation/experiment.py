"""One measurement: a recipe, models and proposals on a benchmark, with every setting that its figures depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fovea.answers import Assignment
from fovea.backbones.models import Models
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.cache import FeatureCache
from fovea.errors import DataError
from fovea.evaluation.benchmarks import Described, Source
from fovea.evaluation.examples import Example
from fovea.evaluation.grounding import PROPOSALS
from fovea.files import content_hash
from fovea.grounder import Grounder
from fovea.proposers import SEARCHES
from fovea.recipes import Recipe, load, resolve_grid, resolve_recipe
from fovea.recipes.reported import Setting, setting
from fovea.recipes.scorers import TELLERS, models_of
from fovea.rules.subtraction import Bank, read_bank


@dataclass(frozen=True)
class Experiment:
    """What is measured, by name.

    Attributes:
        benchmark: one of ``benchmarks.BENCHMARKS`` or ``naming_benchmarks.NAMING_BENCHMARKS``.
        source: where its data is.
        recipe: a recipe, or visual prompts joined by ``+``.
        models, device, dtype: as :class:`fovea.backbones.models.Models` takes them.
        proposals: one of ``grounding.PROPOSALS``.
        assignment: see :func:`fovea.evaluation.grounding.evaluate_grounding`.
        relations, parser, rendering: as :func:`fovea.load` takes them.
        bank: file of expressions to subtract; the data's own by default, as the released program does.
        aggregate: as :func:`fovea.load` takes it.
        template: sentence around expressions; that of the data, or else of the recipe, by default.
        grid: settings of SAM's grid that differ from the models' own.
    """

    benchmark: str = "scenes"
    source: Source = field(default_factory=Source)
    recipe: str = "fgvp"
    models: str = "mini"
    device: str = "auto"
    dtype: str = "float32"
    proposals: str = "ground-truth"
    assignment: Assignment = "argmax"
    relations: str = "extended"
    parser: str = "built-in"
    rendering: str = "direct"
    bank: Path | None = None
    aggregate: str = "sum"
    template: str | None = None
    grid: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.proposals not in PROPOSALS:
            raise DataError(f"there are no proposals called {self.proposals!r}", f"known are {', '.join(PROPOSALS)}")

    @property
    def chosen(self) -> Recipe:
        """The recipe."""
        return resolve_recipe(self.recipe)

    def read_bank(self, examples: Sequence[Example]) -> Bank | None:
        """The expressions that the recipe subtracts, if it does: those of the data by default."""
        return self.bank_of(query.text for example in examples for query in example.queries)

    def bank_of(self, texts: Iterable[str]) -> Bank | None:
        """The same of any texts, which are only looked at where they are needed."""
        if not self.chosen.subtraction:
            return None
        return Bank.draw([*texts]) if self.bank is None else read_bank(self.bank)

    def open_models(self) -> Models:
        """The models; nothing is loaded yet."""
        return Models(self.models, device=self.device, dtype=self.dtype)

    def build(
        self, benchmark: Described, models: Models, bank: Bank | None, cache: FeatureCache | None = None
    ) -> Grounder:
        """The grounder to measure.

        Args:
            benchmark: the opened benchmark.
            models: opened; experiments may share them.
            bank: what :meth:`read_bank` gave.
            cache: of features, which experiments may share.
        """
        return load(
            self.recipe, models, relations=self.relations, parser=self.parser, rendering=self.rendering, bank=bank,
            aggregate=self.aggregate, template=self._template(benchmark),
            grid=resolve_grid(models.sources, **self.grid), cache=cache,
            search=self.proposals if self.proposals in SEARCHES else "grid",
        )  # fmt: skip

    def _template(self, benchmark: Described) -> str:
        return next(one for one in (self.template, benchmark.template, self.chosen.template) if one is not None)

    def header(self, benchmark: Described, grounder: Grounder) -> dict[str, str]:
        """What the results depend on beside the recipe, the models' name and the proposals: for files of results."""
        about = {"benchmark": benchmark.name, "data": benchmark.origin, "dtype": self.dtype}
        about |= {"rendering": self.rendering, "aggregate": self.aggregate, "template": self._template(benchmark)}
        about["relations"] = "none" if grounder.relations is None else grounder.relations.name
        about["parser"] = content_hash(Path(self.parser)) if self.parser.endswith(".json") else self.parser
        about["masks"] = str(grounder.finder.grid.mask_filter)
        if self.chosen.subtraction:
            texts = "\n".join(grounder.scorer.bank.texts)  # type: ignore[attr-defined]
            about["bank"] = hashlib.blake2b(texts.encode(), digest_size=16).hexdigest()
        sources = resolve_models(self.models)
        roles = dict.fromkeys((*models_of(self.chosen), *(TELLERS if self.proposals == "told" else ())))
        used = [source for role in roles for source in sources.of(role)]
        if self.proposals == "mask2former":
            used.append(sources.mask2former)
        elif self.proposals == "grid" or grounder.scorer.needs_masks:
            # Also where boxes get their masks from it.
            used.append(sources.sam)
        about["weights"] = " ".join(map(fingerprint, used))
        return about

    def setting(self, benchmark: Described, grounder: Grounder) -> Setting:
        """What the figures may be compared with in a paper's table."""
        return setting(benchmark.split, self.proposals, grounder.finder.grid)

"""A recipe: a paper's system as a named combination of parts, and the grammar of ad-hoc ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fovea.errors import ExpressionError
from fovea.marks.styles import MarkOptions, MarkStyle, parse_style
from fovea.recipes.reported import SINGLE_STYLES, Setting


@dataclass(frozen=True)
class Recipe:
    """A named combination.

    Attributes:
        name: what ``--recipe`` takes.
        summary: one line on what it does.
        styles: the visual prompts whose scores are summed.
        paper: where it comes from.
        relations: whether the rules on places and neighbours apply, the paper's R.
        subtraction: whether a bank of expressions is subtracted, the paper's S.
        template: sentence around an expression.
        options: how marks look.
        native: styles that the released program draws at the picture's own resolution; they count in parity only.
        reported: accuracy in percent that the paper states, by split and proposals (``recipes.reported``), with the
            CLIPs that it names; another measure than accuracy stands behind the split, such as ``refcoco-val mIoU``.
        scorer: what fills the matrix: ``marked-clip`` from the styles, or one that needs none (see
            :mod:`fovea.recipes.scorers`).
        settings: of such a scorer, by name, where they differ from its own.
        search: what searches a picture where nobody says otherwise: one of ``proposers.SEARCHES``.
    """

    name: str
    summary: str
    styles: tuple[MarkStyle, ...]
    paper: str = ""
    relations: bool = False
    subtraction: bool = False
    template: str = "a photo of {}"
    options: MarkOptions = field(default_factory=MarkOptions)
    native: tuple[MarkStyle, ...] = (parse_style("P"),)
    reported: Mapping[Setting, float] = field(default_factory=dict)
    scorer: str = "marked-clip"
    settings: Mapping[str, Any] = field(default_factory=dict)
    search: str = "grid"

    @property
    def parts(self) -> str:
        """The recipe as its parts, such as ``P+D4+R``; without visual prompts, its scorer."""
        codes = [style.code for style in self.styles] or [self.scorer]
        return "+".join([*codes, *("R" * self.relations), *("S" * self.subtraction)])


def combine(parts: str, name: str | None = None, summary: str = "parts chosen by hand") -> Recipe:
    """A recipe of parts joined by ``+``: visual prompts, ``R`` for relations, ``S`` for subtraction.

    A single visual prompt carries the numbers that the paper reports for it.

    Raises:
        ExpressionError: a part is unknown, or there is no visual prompt.
    """
    each = [part.strip() for part in parts.split("+")]
    rules = {part.upper() for part in each} & {"R", "S"}
    styles = tuple(parse_style(part) for part in each if part.upper() not in rules)
    if not styles:
        raise ExpressionError(f"{parts!r} names no visual prompt", "add one, such as crop")
    alone = len(styles) == 1 and not rules
    return Recipe(
        name or parts,
        summary,
        styles,
        relations="R" in rules,
        subtraction="S" in rules,
        reported=SINGLE_STYLES.get(styles[0].code, {}) if alone else {},
    )

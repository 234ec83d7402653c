"""The iterative Grad-CAM refinement strategy (IGRS): hide what a text has found, and see what else it finds.

Every round hides the patches that stand out in its own map from all fusion layers of the next, and the maps are
averaged. It goes on while the match holds.

Source: IteRPrimE, Eq. 5-7; where the released program differs from the paper, both are here. specs/iterprime.md, 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.backbones.matching import Match, MatchingModel, PictureStates, TextStates
from fovea.heat.pwem import MergeMode, merge_tokens

#: ``released`` mixes maps as they are, starts from the first, stops when the match falls, and keeps the round that
#: made it stop. ``paper`` mixes stretched maps, starts from zero, weighs the match by what is left to be seen, and
#: drops the round that made it stop.
Variant = Literal["released", "paper"]

# The sigmoid that stretches maps: its slope and its centre.
_SLOPE, _CENTRE = 20.0, 0.5


@dataclass(frozen=True)
class Refinement:
    """How maps are merged and refined.

    Attributes:
        rounds: most rounds, at least 1.
        new_weight: weight of a new map against the old ones, 0..1: one minus the paper's lambda.
        threshold: patches whose stretched map reaches it are hidden from the next round, 0..1.
        mode: how the maps of tokens are merged.
        variant: see :data:`Variant`.
        layer: the fusion layer whose attention is read; None for the model's own.
    """

    rounds: int = 3
    new_weight: float = 0.2
    threshold: float = 0.5
    mode: MergeMode = "full"
    variant: Variant = "released"
    layer: int | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"there must be a round, not {self.rounds}")


@dataclass(frozen=True)
class Roles:
    """What the tokens of a text do; positions in the token sequence, whose position 0 is the class token.

    Attributes:
        focus: tokens that carry meaning.
        primary: tokens of the word that names the thing; empty for none.
    """

    focus: tuple[int, ...]
    primary: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Round:
    """What one round saw.

    Attributes:
        visible: ``(rows, columns)`` bool, patches that the text could see.
        merged: ``(rows, columns)`` float32, the merged map.
        scaled: the same, stretched to 0..1.
        dropped: ``(rows, columns)`` bool, patches that stand out and are hidden from now on.
        running: ``(rows, columns)`` float32, mean of the maps so far.
        score: probability of a match, 0..1.
        relevance: share of the picture that earlier rounds left cold, 0..1; only in the paper's variant.
        accepted: whether the match held. Only the last round may fail.
    """

    visible: Tensor
    merged: Tensor
    scaled: Tensor
    dropped: Tensor
    running: Tensor
    score: float
    relevance: float | None
    accepted: bool

    @property
    def soft_score(self) -> float:
        """The match, weighed by the relevance where there is one."""
        return self.score * (1.0 if self.relevance is None else self.relevance)


@dataclass(frozen=True, eq=False)
class RefinedHeat:
    """The heat of one text, and how it came about.

    Attributes:
        rounds: all of them, in order.
        settings: what they were made with.
    """

    rounds: tuple[Round, ...]
    settings: Refinement

    @property
    def accepted(self) -> int:
        """Rounds in which the match held."""
        return sum(one.accepted for one in self.rounds)

    @property
    def running(self) -> Tensor:
        """``(rows, columns)`` float32, the refined map on the model's grid."""
        last = self.rounds[-1]
        return last.running if last.accepted or self.settings.variant == "released" else self.rounds[-2].running

    def heat(self, size: tuple[int, int]) -> Tensor:
        """The refined map over the picture.

        Args:
            size: width and height of the picture.

        Returns:
            ``(height, width)`` float32, 0..1.
        """
        spread = over_picture(self.running, size)
        # The released program stretches what it shows of the first round, and with one round that is the answer.
        single = self.settings.rounds == 1 and self.settings.variant == "released"
        return scale(stretch(spread)) if single else spread


def scale(maps: Tensor) -> Tensor:
    """Shift and scale each map ``(..., rows, columns)`` to 0..1; a flat one becomes 0."""
    lifted = maps - maps.amin((-2, -1), keepdim=True)
    top = lifted.amax((-2, -1), keepdim=True)
    return lifted / torch.where(top > 0, top, 1)


def stretch(maps: Tensor) -> Tensor:
    """Sigmoid of maps in 0..1, divided by its largest value in each map ``(..., rows, columns)``."""
    squashed = torch.sigmoid(_SLOPE * (maps - _CENTRE))
    return squashed / squashed.amax((-2, -1), keepdim=True)


def over_picture(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread maps over a picture, bicubic, and scale each to 0..1.

    Args:
        maps: ``(..., rows, columns)`` float32.
        size: width and height of the picture.

    Returns:
        ``(..., height, width)`` float32.
    """
    width, height = size
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    spread = F.interpolate(flat, (height, width), mode="bicubic", align_corners=False)
    return scale(spread.view(*maps.shape[:-2], height, width))


def standing_out(scaled: Tensor, threshold: float) -> Tensor:
    """Patches that the next round must not see: bool, same shape. A flat map stands out everywhere, as released."""
    return stretch(scaled) >= threshold


def refine(
    model: MatchingModel,
    picture: PictureStates,
    texts: Sequence[TextStates],
    roles: Sequence[Roles],
    size: tuple[int, int],
    settings: Refinement | None = None,
) -> list[RefinedHeat]:
    """Refine the heat of several texts over one picture; each round is one batch of the texts that still go on.

    Args:
        model: matches texts with the picture.
        picture: of the model.
        texts: of the model.
        roles: what their tokens do, one entry per text.
        size: width and height of the picture.
        settings: the paper's by default.

    Returns:
        One per text, in order; a batch changes no result.

    Raises:
        ValueError: there are not as many roles as texts, or a role names a token that a text does not have.
    """
    if len(texts) != len(roles):
        raise ValueError(f"{len(texts)} texts came with {len(roles)} roles")
    settings = settings or Refinement()
    traces: list[list[Round]] = [[] for _ in texts]
    for _ in range(settings.rounds):
        going = [number for number, trace in enumerate(traces) if not trace or trace[-1].accepted]
        if not going:
            break
        visible = [_next_visible(traces[number], model.grid) for number in going]
        matches = model.match(
            picture, [texts[number] for number in going], visible=torch.stack(visible), layer=settings.layer
        )
        for number, match, seen in zip(going, matches, visible, strict=True):
            traces[number].append(_round(match, roles[number], seen, traces[number], size, settings))
    return [RefinedHeat(tuple(trace), settings) for trace in traces]


def _next_visible(trace: Sequence[Round], grid: tuple[int, int]) -> Tensor:
    return trace[-1].visible & ~trace[-1].dropped if trace else torch.ones(grid, dtype=torch.bool)


def _round(
    match: Match,
    roles: Roles,
    visible: Tensor,
    trace: Sequence[Round],
    size: tuple[int, int],
    settings: Refinement,
) -> Round:
    """What one text saw in one round, behind those in ``trace``."""
    merged = merge_tokens(match.attention, match.gradient, roles.focus, roles.primary, settings.mode)
    scaled = scale(merged)
    relevance = None
    if settings.variant == "paper":
        relevance = float(1 - over_picture(trace[-1].running, size).mean()) if trace else 1.0
    last = trace[-1] if trace else None
    soft_score = match.score * (1.0 if relevance is None else relevance)
    return Round(
        visible=visible,
        merged=merged,
        scaled=scaled,
        dropped=standing_out(scaled, settings.threshold),
        running=_mix(scaled, last, settings),
        score=match.score,
        relevance=relevance,
        # As released the relevance of the last round stands on both sides, so that only the match counts.
        accepted=last is None or soft_score >= last.soft_score,
    )


def _mix(scaled: Tensor, last: Round | None, settings: Refinement) -> Tensor:
    """The mean of the maps so far (Eq. 5)."""
    weight = settings.new_weight
    if settings.variant == "paper":
        return weight * stretch(scaled) + (0 if last is None else (1 - weight) * last.running)
    return scaled if last is None else weight * scaled + (1 - weight) * last.running

"""How a peer of a captioner is trained; the defaults are the paper's (specs/pin.md, 2, 4, 7)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fovea.backbones.peers import PeerKind, PeerOptions
from fovea.networks.positional_insert import Table
from fovea.training.settings import TrainSettings


@dataclass(frozen=True)
class PinSettings(TrainSettings):
    """How long, how fast, and what.

    With ``bf16`` the host computes in half precision; what is trained never does.

    Attributes:
        kind: what is trained beside the host.
        first_share: of the steps, 0..1, in which every picture shows three things and their names are learnt too.
            Afterwards it is one to three, and only boxes are learnt.
        tokens: learnt tokens or words, where the kind has some.
        rank: of adapters.
        alpha: of adapters.
        table: how an insert numbers places: ``1d`` or ``2d``.
        zero_init: whether an insert starts by changing nothing.
        cells: per side of the grid that things are pasted on and boxes are written with; 0 for as the host is asked.
        measured: pictures with names that are learnt, and as many with names that are not, that are asked about in
            every measurement.
        backgrounds: folder of photographs that things are pasted on; empty for the backgrounds of scenes.
        exclude: benchmarks whose categories are not pasted but kept for measuring, where cut-outs are.
        categories: file of LVIS's categories, by which those of the benchmarks are told; empty to go by names alone.
        referral: whether things of one name are pasted, and told apart by their places.
        peer: folder of a peer of that kind whose weights training starts from, with the sizes that it has; empty for
            new ones.
    """

    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.0
    warmup: int = 0
    clip_norm: float = 0.0
    average_decay: float = 0.0
    # The rate stays as it is: its first fall would come behind the end.
    milestones: tuple[float, ...] = (1.0,)
    log_every: int = 50
    # Of the released 150,000 steps hardly any time; and the end is measured in any case.
    evaluate_every: int = 5000
    kind: PeerKind = "insert"
    first_share: float = 0.25
    tokens: int = 20
    rank: int = 8
    alpha: float = 16
    table: Table = "1d"
    zero_init: bool = False
    cells: int = 0
    measured: int = 50
    backgrounds: str = ""
    exclude: tuple[str, ...] = ("coco", "voc")
    categories: str = ""
    referral: bool = False
    peer: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.first_share <= 1:
            raise ValueError("first_share lies outside of 0..1")
        if min(self.tokens, self.rank, self.measured) < 1 or min(self.cells, self.alpha) < 0:
            raise ValueError("tokens, rank or measured is below 1, or cells or alpha below 0")

    @property
    def options(self) -> PeerOptions:
        """The same, of what is trained."""
        return PeerOptions(**{field.name: getattr(self, field.name) for field in fields(PeerOptions)})

"""How RegionSpot's head is trained; the defaults are the released ones (specs/regionspot.md, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fovea.networks.region_spot import Context
from fovea.training.focal_loss import Reduction
from fovea.training.settings import TrainSettings

#: Where the weights begin: as drawn, or looking at the right places (:mod:`fovea.training.region_spot_start`).
Start = Literal["random", "places"]

#: What is minimised: the released focal loss, in which every name is judged for itself, or the cross-entropy of names
#: that share a region. The former first has to teach all names to be unlikely, which ruins a good start.
HeadLoss = Literal["focal", "softmax"]


@dataclass(frozen=True)
class HeadSettings(TrainSettings):
    """How long, how fast, and which head.

    Attributes:
        depth: layers of the head's decoder.
        heads: of its attention.
        hidden: width inside of its feed-forward parts.
        dropout: while it is trained.
        class_token: whether regions also look at CLIP's class token.
        places: whether regions look at what CLIP sees at all.
        context: whether the regions of a picture look at each other. A head that was trained on ``single`` ones is to
            be asked so too.
        start: where the weights begin.
        loss: what is minimised.
        reduction: how the losses of regions become one. ``upstream`` also fills pictures up by repeating regions, as
            the released training does.
        held_out: pictures of every data set that are kept for measuring, at most a tenth of it.
        templates: that names are put into, in place of ``{}``; their texts' vectors are averaged.
        models: whose first CLIP reads the names; by default the ones that the tokens were made with.
    """

    weight_decay: float = 1e-4
    warmup: int = 1000
    clip_norm: float = 1.0
    average_decay: float = 0.0
    log_every: int = 50
    evaluate_every: int = 5000
    depth: int = 3
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1
    class_token: bool = True
    places: bool = True
    context: Context = "set"
    start: Start = "random"
    loss: HeadLoss = "focal"
    reduction: Reduction = "mean"
    held_out: int = 500
    templates: tuple[str, ...] = ("a photo of a {}.", "{}.")
    models: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.depth, self.heads, self.hidden, self.held_out) < 1 or not 0 <= self.dropout < 1:
            raise ValueError("depth, heads, hidden or held_out is below 1, or dropout outside of 0..1")
        if not self.templates or any(template.count("{}") != 1 for template in self.templates):
            raise ValueError("a template does not say once where the name goes")

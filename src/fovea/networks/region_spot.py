"""RegionSpot's head: tokens of a SAM, one per region, look at all tokens of a CLIP and become vectors beside its texts.

Only this head is trained; both models stay as they are. Source: "Recognize Any Regions" (Yang et al., 2024), section 3;
specs/regionspot.md, 4. The parameters have the released names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

#: Whether the regions of a picture look at each other. In a ``set`` they do, as the paper has it, so that what a region
#: is called depends on the regions it is asked together with; a ``single`` one stands for itself.
Context = Literal["set", "single"]

# Keeps the direction of a vector that is nearly zero, as released.
_TINY = 1e-7


@dataclass(frozen=True)
class RegionSpotConfig:
    """Sizes of a head.

    Attributes:
        clip_width: of CLIP's tokens, and of the decoder.
        text_width: of CLIP's texts.
        token_width: of SAM's tokens.
        depth: layers of the decoder.
        heads: of its attention.
        hidden: width inside of its feed-forward parts.
        class_token: whether regions also look at CLIP's class token (table 4 of the paper).
        places: whether regions look at what CLIP sees at all (likewise); without, all of its tokens are zero.
    """

    clip_width: int
    text_width: int
    token_width: int = 256
    depth: int = 3
    heads: int = 8
    hidden: int = 2048
    class_token: bool = True
    places: bool = True

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def of_weights(cls, state: dict[str, Tensor], heads: int = 8, class_token: bool = True) -> Self:
        """Read sizes off the weights; what does not show there is as released.

        Args:
            state: of a head.
            heads: of its attention.
            class_token: whether it was trained with CLIP's class token.
        """
        clip_width, token_width = state["to_clip.weight"].shape
        layers = {key.split(".")[2] for key in state if key.startswith("decoder.layers.")}
        text_width, hidden = len(state["projector.weight"]), len(state["decoder.layers.0.linear1.weight"])
        return cls(clip_width, text_width, token_width, len(layers), heads, hidden, class_token)


@dataclass(frozen=True, eq=False)
class Looks:
    """Where regions looked in one layer, averaged over heads.

    Attributes:
        regions: ``(B, N, N)``, at each other.
        places: ``(B, N, S)``, at CLIP's tokens; the class token first where there is one.
    """

    regions: Tensor
    places: Tensor


class RegionSpotHead(nn.Module):
    """The trainable part of RegionSpot.

    Args:
        config: its sizes.
        dropout: while it is trained.
    """

    def __init__(self, config: RegionSpotConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        width = config.clip_width
        self.to_clip = nn.Linear(config.token_width, width)
        # Norms behind every part, no positions and no masks: torch's own decoder, with one more norm at its end.
        layer = nn.TransformerDecoderLayer(width, config.heads, config.hidden, dropout, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, config.depth, nn.LayerNorm(width))
        self.projector = nn.Linear(width, config.text_width)

    def forward(
        self, tokens: Tensor, places: Tensor, padding: Tensor | None = None, context: Context = "set"
    ) -> Tensor:
        """Vectors of regions.

        Args:
            tokens: ``(B, N, token_width)``, SAM's, one per region.
            places: ``(B, S, clip_width)``, CLIP's of its last block without any norm, the class token first.
            padding: ``(B, N)`` bool, True where there is no region; none by default.
            context: whether regions look at each other.

        Returns:
            ``(B, N, text_width)``, divided by their length.
        """
        found = self.projector(
            self.decoder(
                self.to_clip(tokens),
                self._memory(places),
                tgt_mask=_alone(tokens) if context == "single" else None,
                tgt_key_padding_mask=padding if context == "set" else None,
            )
        )
        vectors: Tensor = found / (found.norm(dim=-1, keepdim=True) + _TINY)
        return vectors

    def _memory(self, places: Tensor) -> Tensor:
        seen = places if self.config.class_token else places[:, 1:]
        return seen if self.config.places else torch.zeros_like(seen)

    @torch.no_grad()
    def looks(self, tokens: Tensor, places: Tensor, context: Context = "set") -> list[Looks]:
        """Where regions look, layer by layer, without dropout; arguments as of :meth:`forward`."""
        states, memory = self.to_clip(tokens), self._memory(places)
        mask = _alone(tokens) if context == "single" else None
        found = []
        for layer in self.decoder.layers:
            told, regions = layer.self_attn(states, states, states, attn_mask=mask)
            states = layer.norm1(states + told)
            seen, shares = layer.multihead_attn(states, memory, memory)
            states = layer.norm2(states + seen)
            states = layer.norm3(states + layer.linear2(layer.activation(layer.linear1(states))))
            found.append(Looks(regions, shares))
        return found


def _alone(tokens: Tensor) -> Tensor:
    """``(N, N)`` bool, True where a region must not look: everywhere but at itself."""
    return ~torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)

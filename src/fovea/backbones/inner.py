"""What goes on inside of a CLIP's picture tower, for scorers that look at places: embeddings of regions and heat.

A picture passes through the tower once, whatever the number of regions. A thin interface over the towers that allow
it, so that scorers need not know whose model it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from fovea.errors import CheckpointError

if TYPE_CHECKING:
    from fovea.backbones.clip import ClipEncoder


class InnerTokens(Protocol):
    """A picture tower whose tokens can be reached. Embeddings are as the tower projects them, not of unit length."""

    @property
    def grid(self) -> int:
        """Side of the square grid of places."""
        ...

    def masked(self, pixels: Tensor, coverage: Tensor) -> Tensor:
        """Regions by masked features.

        Args:
            pixels: ``(1, 3, S, S)``, normalised.
            coverage: ``(R, grid, grid)`` in 0..1.

        Returns:
            ``(R, D)``.
        """
        ...

    def inside(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """Regions by a token of their own that sees nothing outside of them.

        Args:
            pixels: ``(1, 3, S, S)``, normalised.
            inside: ``(R, grid, grid)`` bool.

        Returns:
            ``(R, D)``.
        """
        ...


@runtime_checkable
class ActivationTokens(InnerTokens, Protocol):
    """A picture tower that also says which places a text is about."""

    def activation(self, pixels: Tensor, texts: Tensor, background: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Class activation of texts, each against the same background, and how places attend to each other.

        Args:
            pixels: ``(1, 3, S, S)``, normalised.
            texts: ``(T, D)`` of unit length.
            background: ``(B, D)`` of unit length.
            scale: the temperature of the softmax.

        Returns:
            ``(T, grid, grid)`` from 0 on, and attention ``(P, P)`` among the P places; row by row who looks.
        """
        ...


@runtime_checkable
class PlaceTokens(InnerTokens, Protocol):
    """A picture tower whose last block can be read, at any input size."""

    @property
    def width(self) -> int:
        """Of its tokens."""
        ...

    @property
    def patch(self) -> int:
        """Side of a place in pixels."""
        ...

    def places(self, pixels: Tensor) -> Tensor:
        """All tokens of the last block, without the norm behind it: ``(B, 1 + P, width)``, the class token first.

        Args:
            pixels: ``(B, 3, S, S)``, normalised; S may differ from the tower's own size.
        """
        ...

    def readout(self) -> tuple[Tensor, Tensor]:
        """What the tower makes of a token on its way to the texts, as a linear map behind a norm without weights.

        Returns:
            Weight ``(D, width)`` and bias ``(D,)``.
        """
        ...


@dataclass(frozen=True, eq=False)
class Activation:
    """Where texts are seen.

    Attributes:
        maps: ``(T, grid, grid)`` float32, from 0 on.
        attention: ``(P, P)`` float32 among the ``grid * grid`` places; row by row who looks.
    """

    maps: np.ndarray
    attention: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of both, for the cache's bound."""
        return self.maps.nbytes + self.attention.nbytes


class InnerEncoder:
    """Arrays in, arrays out, around the tokens of one encoder.

    Args:
        encoder: a CLIP.

    Raises:
        CheckpointError: its picture tower does not allow it.
    """

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder, self.tokens = encoder, encoder.inner_tokens()

    @property
    def grid(self) -> int:
        """Side of the square grid of places."""
        return self.tokens.grid

    def masked(self, picture: np.ndarray, coverage: np.ndarray) -> np.ndarray:
        """Regions by masked features.

        Args:
            picture: ``(S, S, 3)`` uint8 at the model's input size.
            coverage: ``(R, grid, grid)`` float32 in 0..1.

        Returns:
            ``(R, D)`` float32, not of unit length.
        """
        pixels = self.encoder.tensor(picture[None])
        with torch.inference_mode():
            return _array(self.tokens.masked(pixels, torch.from_numpy(coverage).to(pixels)))

    def inside(self, picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Regions by a token of their own.

        Args:
            picture: ``(S, S, 3)`` uint8 at the model's input size.
            inside: ``(R, grid, grid)`` bool.

        Returns:
            ``(R, D)`` float32, not of unit length.
        """
        pixels = self.encoder.tensor(picture[None])
        with torch.inference_mode():
            return _array(self.tokens.inside(pixels, torch.from_numpy(inside).to(pixels.device)))


class ActivationEncoder:
    """As :class:`InnerEncoder`, for class activation.

    Args:
        encoder: a CLIP.

    Raises:
        CheckpointError: its picture tower has no class token.
    """

    def __init__(self, encoder: ClipEncoder) -> None:
        tokens = encoder.inner_tokens()
        if not isinstance(tokens, ActivationTokens):
            raise CheckpointError(
                f"{encoder.name} is no vision transformer, and class activation needs one",
                "use one such as openai/clip-vit-base-patch16, or --models mini-vit",
            )
        self.encoder, self.tokens = encoder, tokens

    def __call__(self, picture: np.ndarray, texts: np.ndarray, background: np.ndarray) -> Activation:
        """Where texts are seen.

        Args:
            picture: ``(S, S, 3)`` uint8 at the model's input size.
            texts: ``(T, D)`` float32 of unit length, T at least 1.
            background: ``(B, D)`` float32 of unit length.
        """
        pixels = self.encoder.tensor(picture[None])
        wanted, others = (torch.from_numpy(rows).to(pixels) for rows in (texts, background))
        maps, attention = self.tokens.activation(pixels, wanted, others, self.encoder.logit_scale)
        return Activation(_array(maps), _array(attention))


def inner_encoders(encoders: Sequence[ClipEncoder]) -> tuple[InnerEncoder, ...]:
    """The insides of several CLIPs.

    Raises:
        CheckpointError: one of them does not allow it.
    """
    return tuple(map(InnerEncoder, encoders))


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().float().cpu().numpy())

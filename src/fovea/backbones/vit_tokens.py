"""The inside of a CLIP vision transformer of Hugging Face (specs/iterprime.md, 12).

The blocks are run here from their own weights, so that nothing depends on which attention the model was loaded with.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.region_attention import Attended, attend_inside

# Regions whose tokens go through the last blocks together.
_AT_ONCE = 32


class _Block:
    """One transformer block, taken apart."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.attention = layer, layer.self_attn
        self.heads = int(self.attention.num_heads)

    def split(self, states: Tensor) -> Tensor:
        """``(B, L, C)`` to ``(B, heads, L, C / heads)``."""
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def finish(self, states: Tensor, mixed: Tensor) -> Tensor:
        """What follows the attention; shapes as those of ``states``."""
        states = states + self.attention.out_proj(mixed)
        after: Tensor = states + self.layer.mlp(self.layer.layer_norm2(states))
        return after

    def step(self, states: Tensor, normed: Tensor | None = None) -> Tensor:
        """All tokens ``(B, L, C)`` to all tokens; ``normed`` stands for their first normalisation."""
        normed = self.layer.layer_norm1(states) if normed is None else normed
        projections = (self.attention.q_proj, self.attention.k_proj, self.attention.v_proj)
        queries, keys, values = (self.split(project(normed)) for project in projections)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.finish(states, mixed.transpose(1, 2).flatten(2))

    def shares(self, states: Tensor) -> Tensor:
        """``(B, heads, L, L)``: who attends to whom."""
        normed = self.layer.layer_norm1(states)
        queries, keys = self.split(self.attention.q_proj(normed)), self.split(self.attention.k_proj(normed))
        logits = (queries @ keys.transpose(-1, -2)).float() * queries.shape[-1] ** -0.5
        return logits.softmax(-1)

    def step_inside(self, tokens: Tensor, places: Tensor, inside: Tensor) -> Tensor:
        """Tokens of regions ``(R, C)``, which see places ``(P, C)`` where ``inside`` ``(R, P)`` says so."""
        own, around, attention = self.layer.layer_norm1(tokens), self.layer.layer_norm1(places), self.attention
        attended = Attended(
            attention.q_proj(own), attention.k_proj(own), attention.v_proj(own),
            attention.k_proj(around), attention.v_proj(around),
        )  # fmt: skip
        return self.finish(tokens, attend_inside(attended, inside, self.heads))


class VitTokens:
    """See :class:`fovea.backbones.inner.ActivationTokens` and :class:`fovea.backbones.inner.PlaceTokens`.

    Args:
        model: ``CLIPModel`` of transformers, or one that is built like it.
        name: for messages.

    Raises:
        CheckpointError: the model is built otherwise, as SigLIP, which has no class token.
    """

    def __init__(self, model: Any, name: str) -> None:
        try:
            vision = model.vision_model
            self._embeddings, self._first_norm = vision.embeddings, vision.pre_layrnorm
            self._blocks = [_Block(layer) for layer in vision.encoder.layers]
            self._last_norm, self._projection = vision.post_layernorm, model.visual_projection
            _ = self._embeddings.class_embedding
        except AttributeError as error:
            raise CheckpointError(
                f"{name} has no class token of CLIP's kind, and this recipe needs one",
                "use a CLIP such as openai/clip-vit-base-patch16",
            ) from error
        self.grid = round(self._embeddings.num_patches**0.5)

        self.patch = int(self._embeddings.patch_size)
        self.width = int(self._embeddings.embed_dim)

    def places(self, pixels: Tensor) -> Tensor:
        """Where the input is of another size, the positions are resized to it, bicubically."""
        states: Tensor = self._first_norm(self._embeddings(pixels, interpolate_pos_encoding=True))
        for block in self._blocks:
            states = block.step(states)
        return states

    def readout(self) -> tuple[Tensor, Tensor]:
        """The last projection, with the weights of the norm in front of it."""
        weight = self._projection.weight
        return (weight * self._last_norm.weight).detach(), (weight @ self._last_norm.bias).detach()

    def _start(self, pixels: Tensor) -> Tensor:
        """``(B, 1 + P, C)``: class token and places, before the first block."""
        states: Tensor = self._first_norm(self._embeddings(pixels))
        return states

    def _project(self, tokens: Tensor) -> Tensor:
        """``(R, C)`` to ``(R, D)``."""
        embedded: Tensor = self._projection(self._last_norm(tokens))
        return embedded

    def last_attention(self, pixels: Tensor) -> Tensor:
        """Who attends to whom in the last block.

        Args:
            pixels: ``(B, C, S, S)`` as the tower takes them.

        Returns:
            ``(B, heads, 1 + P, 1 + P)`` float32, rows sum to 1; the class token comes first,
            then the places row by row.
        """
        states = self._start(pixels)
        for block in self._blocks[:-1]:
            states = block.step(states)
        return self._blocks[-1].shares(states)

    def masked(self, pixels: Tensor, coverage: Tensor) -> Tensor:
        """Places are multiplied by the mask in front of each of the last blocks; the class token is kept.

        The released program does so in front of blocks 9, 10 and 11 of 12. Here it is the last quarter of any depth,
        rounded, at least one block.
        """
        count = max(1, round(len(self._blocks) / 4))
        states = self._start(pixels)
        for block in self._blocks[:-count]:
            states = block.step(states)
        keep = F.pad(coverage.flatten(1), (1, 0), value=1.0)[..., None]
        rows = []
        for some in keep.split(_AT_ONCE):
            regions = states.expand(len(some), -1, -1)
            for block in self._blocks[-count:]:
                regions = block.step(regions * some)
            rows.append(self._project(regions[:, 0]))
        return torch.cat(rows) if rows else self._project(states[:0, 0])

    def inside(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """Each region has a copy of the class token, which in every block sees the region's places and itself.

        The other tokens never see the copies: they run once, unaltered.
        """
        states = self._start(pixels)
        tokens = states[0, :1].expand(len(inside), -1)
        seen = inside.flatten(1)
        for block in self._blocks:
            tokens = block.step_inside(tokens, states[0, 1:], seen)
            # What the last block makes of the places is read by nobody.
            states = states if block is self._blocks[-1] else block.step(states)
        return self._project(tokens)

    def activation(self, pixels: Tensor, texts: Tensor, background: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Grad-CAM at the first normalisation of the last block, as CLIP-ES and CaR do it.

        The score is a text's share of a softmax over itself and the background, for the mean of the places after the
        last block. Only that block is run with gradients. Attention is the mean over the last 8 blocks of 12; of
        another depth, over the last two thirds.
        """
        with torch.no_grad():
            states, attention = self._start(pixels), []
            for index, block in enumerate(self._blocks):
                if 3 * index >= len(self._blocks):
                    attention.append(block.shares(states)[0].mean(0)[1:, 1:])
                if index < len(self._blocks) - 1:
                    states = block.step(states)
        maps = self._gradient_maps(states, texts, background, scale)
        return maps, torch.stack(attention).mean(0)

    def _gradient_maps(self, states: Tensor, texts: Tensor, background: Tensor, scale: float) -> Tensor:
        """``(T, grid, grid)`` of the states ``(1, 1 + P, C)`` in front of the last block."""
        last = self._blocks[-1]
        with torch.enable_grad():
            # One copy for each text: the gradients of all come out of one sweep.
            copies = states.detach().expand(len(texts), -1, -1)
            normed = last.layer.layer_norm1(copies).detach().requires_grad_()
            places = self._last_norm(last.step(copies, normed))[:, 1:].mean(1)
            seen = F.normalize(self._projection(places).float(), dim=-1)
            rivals = seen @ background.float().T
            own = (seen * texts.float()).sum(-1, keepdim=True)
            shares = (scale * torch.cat([own, rivals], dim=1)).softmax(-1)[:, 0]
            (gradient,) = torch.autograd.grad(shares.sum(), normed)
        weights = gradient[:, 1:].float().mean(1, keepdim=True)
        maps = (weights * normed.detach()[:, 1:].float()).sum(-1).clamp(min=0)
        return maps.unflatten(1, (self.grid, self.grid))

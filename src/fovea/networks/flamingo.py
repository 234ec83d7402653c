"""Flamingo around any causal language model of Hugging Face, as OpenFlamingo built it.

The language model stays as it is. While it reads, hooks in front of some of its layers let its words look at pictures;
they are gone afterwards, and so is what they knew. Its own caches, beams and attention kernels go on working. One
model must not be used by two threads at a time. Source: specs/pin.md, 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fovea.errors import CheckpointError
from fovea.networks.perceiver import AttentionSizes, GatedCrossAttention, PerceiverResampler


@dataclass(frozen=True)
class FlamingoConfig:
    """How a Flamingo is built.

    Attributes:
        media_width: of the picture tower's tokens.
        image_token: id of the token that stands for a picture in a text.
        end_token: id of the token that ends an answer.
        every: words look at pictures in front of every so-manieth layer.
        latest_only: whether a word sees the last picture in front of it, or all of them.
        depth: layers of the resampler.
        latents: tokens that it leaves of a picture.
        resampler: sizes of its layers.
        gated: sizes of the gated layers.
        model_type: as configurations of transformers have it.
    """

    media_width: int
    image_token: int
    end_token: int
    every: int = 1
    latest_only: bool = True
    depth: int = 6
    latents: int = 64
    resampler: AttentionSizes = field(default_factory=AttentionSizes)
    gated: AttentionSizes = field(default_factory=AttentionSizes)
    model_type: str = "flamingo"


class VisionTokens(nn.Module):
    """The places of a CLIP's picture tower, without its class token.

    Args:
        tower: a ``CLIPVisionModel`` of transformers.
        normed: whether the tower's last norm is applied. The released models were trained without it, and PIN's with
            a version of open_clip that applies it (specs/pin.md, 8).
    """

    def __init__(self, tower: nn.Module, normed: bool = False) -> None:
        super().__init__()
        self.tower, self.normed = tower, normed

    def forward(self, pixels: Tensor) -> Tensor:
        """``(N, 3, S, S)``, normalised, to ``(N, places, width)``."""
        tower: Any = self.tower
        tokens: Tensor = tower(pixel_values=pixels).last_hidden_state[:, 1:]
        return tower.post_layernorm(tokens) if self.normed else tokens


def decoder_layers(lm: nn.Module) -> tuple[str, nn.ModuleList]:
    """The layers of a causal language model, or of a picture tower, and their name in it.

    Raises:
        CheckpointError: they cannot be found.
    """
    config: Any = lm.config
    count = config.num_hidden_layers
    for name, module in lm.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise CheckpointError(
        f"the {count} layers of a {config.model_type} model cannot be found", "use another language model or tower"
    )


class Flamingo(nn.Module):
    """A picture tower and a language model, joined.

    Args:
        config: how.
        vision: from pixels ``(N, 3, H, W)`` to tokens ``(N, places, media_width)``.
        lm: a causal language model of transformers.
    """

    def __init__(self, config: FlamingoConfig, vision: nn.Module, lm: nn.Module) -> None:
        super().__init__()
        self.config, self.vision, self.lm = config, vision, lm
        self.perceiver = PerceiverResampler(config.media_width, config.depth, config.latents, config.resampler)
        settings: Any = lm.config
        _, layers = decoder_layers(lm)
        self.gates = nn.ModuleDict(
            {
                str(number): GatedCrossAttention(
                    settings.hidden_size, config.media_width, config.gated, config.latest_only
                )
                for number in range(len(layers))
                if (number + 1) % config.every == 0
            }
        )

    def get_input_embeddings(self) -> nn.Module:
        """From ids to vectors, as models of transformers name it."""
        lm: Any = self.lm
        found: nn.Module = lm.get_input_embeddings()
        return found

    def get_output_embeddings(self) -> nn.Module:
        """From vectors to logits, likewise."""
        lm: Any = self.lm
        found: nn.Module = lm.get_output_embeddings()
        return found

    def encode(self, pixels: Tensor) -> Tensor:
        """Pictures for texts.

        Args:
            pixels: ``(B, T, F, 3, H, W)``, normalised: F frames of T pictures for each of B texts.

        Returns:
            ``(B, T, latents, media_width)``.
        """
        found: Tensor = self.perceiver(self.vision(pixels.flatten(0, 2)).unflatten(0, pixels.shape[:3]))
        return found

    def forward(self, pixels: Tensor, input_ids: Tensor, **options: Any) -> Any:
        """Read texts with pictures.

        Args:
            pixels: as of :meth:`encode`.
            input_ids: ``(B, L)`` int64, with the image token where pictures stand.
            options: of the language model, such as ``attention_mask`` and ``labels``.

        Returns:
            What the language model gives.
        """
        with self.looking(self.encode(pixels), input_ids):
            return self.lm(input_ids=input_ids, **options)

    def generate(self, pixels: Tensor, input_ids: Tensor, **options: Any) -> Tensor:
        """Go on writing; arguments as of :meth:`forward`, options as of transformers' ``generate``.

        The image token is never written: no picture would stand behind it.

        Returns:
            ``(B, L + new)`` int64, the texts and what was written.
        """
        lm: Any = self.lm
        usual = {"eos_token_id": self.config.end_token, "suppress_tokens": [self.config.image_token]}
        with self.looking(self.encode(pixels), input_ids):
            found: Tensor = lm.generate(input_ids=input_ids, **{**usual, **options})
            return found

    @contextmanager
    def looking(self, media: Tensor, input_ids: Tensor) -> Iterator[None]:
        """A context in which the language model's words look at pictures.

        Args:
            media: ``(B, T, latents, media_width)``.
            input_ids: ``(B, L)``, the texts that announce them. What is read behind them, token by token, stands
                behind the last picture.
        """
        order = (input_ids == self.config.image_token).long().cumsum(-1)

        def hook_of(gate: nn.Module) -> Any:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
                words = args[0] if args else kwargs["hidden_states"]
                # Texts may have been multiplied by beams.
                times = len(words) // len(media)
                seen = order if words.shape[1] == order.shape[1] else order[:, -1:].expand(-1, words.shape[1])
                looked = gate(words, media.repeat_interleave(times, 0), seen.repeat_interleave(times, 0))
                return ((looked, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": looked})

            return hook

        _, layers = decoder_layers(self.lm)
        with ExitStack() as stack:
            for number, gate in self.gates.items():
                handle = layers[int(number)].register_forward_pre_hook(hook_of(gate), with_kwargs=True)
                stack.callback(handle.remove)
            yield

"""Where a text-to-image model would draw a word: the cross-attention of a Stable Diffusion (specs/iterprime.md, 12).

A picture's latent is noised a little and denoised again under a sentence; the places that attend to a word of it while
that happens are where the model sees what the word names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.backbones.sources import check_complete, load_key, not_loaded
from fovea.errors import CheckpointError, MissingExtraError

# Attention is read where a place stands for a square of so many pixels, as in the released program.
_STRIDE = 32

# Of the noise, which is the same for every picture: answers must not change from run to run.
_SEED = 0


@dataclass(frozen=True)
class Denoising:
    """The released program's settings.

    Attributes:
        steps: that a picture would be drawn in.
        strength: share of them that the picture is noised by and denoised again, 0..1.
        guidance: how far a step goes from what it would be without the sentence to what it is with it, and beyond.
    """

    steps: int = 20
    strength: float = 0.1
    guidance: float = 9.0


@dataclass
class _Reading:
    """Takes one token's attention from every layer of the right size, of the last sentence in a batch."""

    token: int
    places: int
    maps: list[Tensor] = field(default_factory=list)

    def take(self, attention: Tensor) -> None:
        """Read ``(batch, heads, places, tokens)``."""
        if attention.shape[2] == self.places:
            self.maps.append(attention[-1, :, :, self.token].mean(0).float())


class _ReadableAttention:
    """An attention processor of diffusers that shows what it computes to the :class:`_Reading` of the same call."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reading: _Reading | None = None,
    ) -> Tensor:
        """As diffusers calls it, with ``reading`` among its ``cross_attention_kwargs``."""
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, states in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        if encoder_hidden_states is None or reading is None:
            # Places among each other: their attention is too large to be written down.
            mixed = F.scaled_dot_product_attention(query, key, value, scale=attn.scale)
        else:
            attention = (attn.scale * query @ key.transpose(-1, -2)).softmax(-1)
            reading.take(attention)
            mixed = attention @ value
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))


class StableDiffusion:
    """A frozen Stable Diffusion, asked where it looks. It may be shared by threads.

    Args:
        unet: ``UNet2DConditionModel`` of diffusers; gets attention processors that can be read.
        vae: ``AutoencoderKL`` of diffusers.
        text_encoder: ``CLIPTextModel`` of transformers.
        tokenizer: of that model.
        scheduler: ``DDIMScheduler`` of diffusers.
        name: how cache keys name it.
        denoising: how far pictures are noised.

    Raises:
        CheckpointError: no layer attends at the resolution that is read.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler: Any,
        name: str,
        denoising: Denoising | None = None,
    ) -> None:
        self._unet, self._vae, self._text_encoder = (
            model.eval().requires_grad_(False) for model in (unet, vae, text_encoder)
        )
        self._unet.set_attn_processor(_ReadableAttention())
        self._tokenizer, self._scheduler, self._denoising = tokenizer, scheduler, denoising or Denoising()
        self._scheduler.set_timesteps(self._denoising.steps)
        # Twice the side that the model learnt to draw: 1024 for Stable Diffusion 1.5, as released.
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.image_size = 2 * int(unet.config.sample_size) * factor
        self.grid = self.image_size // _STRIDE
        first = next(unet.parameters())
        self._device, self._dtype = first.device, first.dtype
        self.key = (load_key(name, self._device, self._dtype), self._denoising)
        if self.grid < 1 or self.image_size % _STRIDE:
            raise CheckpointError(f"{name} draws pictures that are too small to be read", "name a Stable Diffusion")

    def encode(self, pixels: np.ndarray) -> Tensor:
        """The latent of a picture.

        Args:
            pixels: ``(S, S, 3)`` uint8 RGB, ``S = image_size``.

        Returns:
            ``(1, channels, s, s)``, on the model's device.
        """
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 127.5 - 1
        with torch.inference_mode():
            encoded = self._vae.encode(planes.to(self._device, self._dtype)).latent_dist.mode()
        return encoded * self._vae.config.scaling_factor

    def attention(self, latent: Tensor, sentence: str, word: int) -> np.ndarray:
        """How much every place attends to a word while the picture is denoised under a sentence.

        Args:
            latent: from :meth:`encode`.
            sentence: words, divided at blanks.
            word: index of one of them; what counts is its last token, or the last that the model reads.

        Returns:
            ``(grid, grid)`` float32 in 0..1: mean over the steps, the layers that attend at this resolution, and their
            heads.
        """
        reading = _Reading(self._token(sentence, word), self.grid**2)
        with torch.inference_mode():
            states, nothing = self._states(sentence), self._states("")
            times = self._times()
            noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(_SEED)).to(latent)
            noised = self._scheduler.add_noise(latent, noise, times[:1])
            for time in times[:-1]:
                noised = self._denoised(noised, time, nothing, states, reading)
            # Of the last step only the attention counts.
            self._predict(noised, times[-1], states, reading)
        if not reading.maps:
            raise CheckpointError("no layer of the diffusion model attends at 1/32 of the picture's size")
        return np.asarray(torch.stack(reading.maps).mean(0).view(self.grid, self.grid).cpu().numpy())

    def _times(self) -> Tensor:
        count = max(1, int(self._denoising.steps * self._denoising.strength))
        times: Tensor = self._scheduler.timesteps[-count:]
        return times

    def _denoised(self, noised: Tensor, time: Tensor, nothing: Tensor, states: Tensor, reading: _Reading) -> Tensor:
        """One step with guidance."""
        without, given = self._predict(noised.repeat(2, 1, 1, 1), time, torch.cat([nothing, states]), reading).chunk(2)
        guided = without + self._denoising.guidance * (given - without)
        stepped: Tensor = self._scheduler.step(guided, time, noised).prev_sample
        return stepped

    def _predict(self, noised: Tensor, time: Tensor, states: Tensor, reading: _Reading) -> Tensor:
        predicted: Tensor = self._unet(noised, time, states, cross_attention_kwargs={"reading": reading}).sample
        return predicted

    def _states(self, sentence: str) -> Tensor:
        """``(1, tokens, D)``: a sentence, padded to what the model reads, as it learnt it."""
        length = int(self._text_encoder.config.max_position_embeddings)
        tokens = self._tokenizer(sentence, padding="max_length", max_length=length, truncation=True)
        ids = torch.tensor([tokens.input_ids], device=self._device)
        states: Tensor = self._text_encoder(ids).last_hidden_state
        return states

    def _token(self, sentence: str, word: int) -> int:
        """Position of a word's last token; a token that begins the text stands in front."""
        so_far = " ".join(sentence.split()[: word + 1])
        last = len(self._tokenizer(so_far, add_special_tokens=False).input_ids)
        return min(last, int(self._text_encoder.config.max_position_embeddings) - 2)


def load_diffusion(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> StableDiffusion:
    """Load a Stable Diffusion.

    Args:
        source: a directory with ``unet/``, ``vae/``, ``text_encoder/``, ``tokenizer/`` and ``scheduler/``; or a hub
            name.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        MissingExtraError: diffusers is not installed.
        CheckpointError: it cannot be found, or is no Stable Diffusion.
    """
    try:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    except ImportError as error:
        raise MissingExtraError("a diffusion model", "diffusion") from error
    try:
        from transformers import AutoTokenizer, CLIPTextModel

        # The two libraries name the type of the weights differently.
        parts: dict[str, tuple[Any, str]] = {
            "unet": (UNet2DConditionModel, "torch_dtype"),
            "vae": (AutoencoderKL, "torch_dtype"),
            "text_encoder": (CLIPTextModel, "dtype"),
        }
        models: list[Any] = []
        for folder, (kind, type_name) in parts.items():
            model, report = kind.from_pretrained(
                source, subfolder=folder, use_safetensors=True, output_loading_info=True, **{type_name: dtype}
            )
            check_complete(f"{folder} of {source}", report["missing_keys"], report["unexpected_keys"])
            models.append(model.to(device))
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer")
        scheduler = DDIMScheduler.from_pretrained(source, subfolder="scheduler")
        unet, vae, text_encoder = models
        return StableDiffusion(unet, vae, text_encoder, tokenizer, scheduler, source)
    except CheckpointError:
        raise
    except Exception as error:
        # As with every model of transformers: users need one line.
        raise not_loaded(source, error) from error

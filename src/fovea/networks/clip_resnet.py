"""CLIP with OpenAI's modified ResNet: the RN50, RN101, RN50x4, RN50x16 and RN50x64 family.

Three things set this ResNet apart from the usual one: a stem of three convolutions followed by an average pool,
anti-aliased strides (an average pool in front of every strided 1x1 convolution), and attention pooling at the end,
where the query is the mean token. Parameter names are those of OpenAI's released state dicts, so that a released file
loads without renaming.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", section 2.4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.networks.openai_clip import hugging_face_names
from fovea.networks.region_attention import Attended, attend_inside


@dataclass(frozen=True)
class ClipResnetConfig:
    """Sizes of one CLIP-ResNet.

    Attributes:
        layers: bottleneck blocks in each stage. Released models have four stages; a small picture keeps a usable
            token grid with three.
        width: channels after the stem; every stage doubles it, and a block widens its output four times.
        image_size: side of the square input in pixels, a multiple of the tower's stride.
        embed_dim: length of the shared picture and text embedding.
        context_length: longest token sequence of the text tower.
        vocab_size: size of the token vocabulary; the end token must be its largest id in every sequence.
        text_width: channels of the text tower.
        text_heads: attention heads of the text tower.
        text_layers: blocks of the text tower.
        quick_gelu: whether the text tower has OpenAI's approximation of GELU, or the exact one, as some of open_clip's.
    """

    layers: tuple[int, ...]
    width: int
    image_size: int
    embed_dim: int
    context_length: int
    vocab_size: int
    text_width: int
    text_heads: int
    text_layers: int
    quick_gelu: bool = True

    @property
    def channels(self) -> int:
        """Channels of the last stage."""
        return int(self.width * 2 ** (len(self.layers) + 1))

    @property
    def vision_heads(self) -> int:
        """Heads of the attention pool: one for every 64 channels."""
        return max(1, self.channels // 64)

    @property
    def grid(self) -> int:
        """Side of the token grid after the last stage."""
        return self.image_size // 2 ** (len(self.layers) + 1)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; strides are average pools."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outplanes = planes * self.expansion
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outplanes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outplanes)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inplanes != outplanes:
            # The pool is called "-1" because it has no weights: the convolution must keep the released index 0.
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", nn.Conv2d(inplanes, outplanes, 1, bias=False)),
                        ("1", nn.BatchNorm2d(outplanes)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, h, w)`` to ``(B, 4 * planes, h / stride, w / stride)``."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut)


class AttentionPool(nn.Module):
    """Multi-head attention whose only query is the mean token."""

    def __init__(self, grid: int, channels: int, heads: int, output_dim: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, channels) / channels**0.5)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, output_dim)
        self.heads = heads

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a feature map.

        Args:
            x: ``(B, C, h, w)`` features of the last stage.

        Returns:
            The pooled embedding ``(B, output_dim)``, and one embedding per place ``(B, h * w, output_dim)``: the value
            and output projections without the attention. The pooled embedding mixes exactly these, head by head, so
            they live in the same space as the text embeddings.
        """
        batch, channels, _, _ = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.positional_embedding
        values = self.v_proj(tokens)

        def split(t: Tensor) -> Tensor:
            return t.unflatten(2, (self.heads, channels // self.heads)).transpose(1, 2)

        pooled = F.scaled_dot_product_attention(
            split(self.q_proj(tokens[:, :1])), split(self.k_proj(tokens)), split(values)
        )
        return self.c_proj(pooled.transpose(1, 2).reshape(batch, channels)), self.c_proj(values[:, 1:])

    def pool_inside(self, x: Tensor, inside: Tensor) -> Tensor:
        """Pool parts of one feature map.

        Args:
            x: ``(1, C, h, w)`` features of the last stage.
            inside: ``(R, h * w)`` bool, the places of each part.

        Returns:
            ``(R, output_dim)``. The query is the mean of the places inside, and only these and it are seen; a part that
            is everything gets the embedding of the whole.
        """
        places, weights = x[0].flatten(1).T, inside.to(x.dtype)
        own = weights @ places / weights.sum(1, keepdim=True).clamp(min=1) + self.positional_embedding[0]
        places = places + self.positional_embedding[1:]
        tokens = Attended(
            self.q_proj(own), self.k_proj(own), self.v_proj(own), self.k_proj(places), self.v_proj(places)
        )
        pooled: Tensor = self.c_proj(attend_inside(tokens, inside, self.heads))
        return pooled


class ModifiedResnet(nn.Module):
    """The picture tower."""

    def __init__(self, config: ClipResnetConfig) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        inplanes = width
        self._stages: list[str] = []
        for index, blocks in enumerate(config.layers):
            planes = width * 2**index
            stage = [Bottleneck(inplanes, planes, stride=1 if index == 0 else 2)]
            inplanes = planes * Bottleneck.expansion
            stage += [Bottleneck(inplanes, planes) for _ in range(blocks - 1)]
            self._stages.append(f"layer{index + 1}")
            self.add_module(self._stages[-1], nn.Sequential(*stage))
        self.attnpool = AttentionPool(config.grid, config.channels, config.vision_heads, config.embed_dim)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of every stage for normalised pixels ``(B, 3, S, S)``."""
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(bn(conv(x)))
        x = self.avgpool(x)
        outputs = []
        for name in self._stages:
            x = self.get_submodule(name)(x)
            outputs.append(x)
        return outputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled embedding ``(B, E)`` and one embedding per place ``(B, grid * grid, E)``."""
        pooled, places = self.attnpool(self.stages(pixels)[-1])
        return pooled, places


class QuickGelu(nn.Module):
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    """Pre-norm transformer block of the text tower."""

    def __init__(self, width: int, heads: int, quick_gelu: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                [
                    ("c_fc", nn.Linear(width, 4 * width)),
                    ("gelu", QuickGelu() if quick_gelu else nn.GELU()),
                    ("c_proj", nn.Linear(4 * width, width)),
                ]
            )
        )
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(B, T, width)`` to the same shape; ``mask`` ``(T, T)`` is added to the attention logits."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Stack of causal blocks; a module of its own only to keep the released parameter names."""

    def __init__(self, width: int, heads: int, layers: int, quick_gelu: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads, quick_gelu) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, width)`` to the same shape; every token sees itself and the tokens before it."""
        length = x.shape[1]
        mask = torch.full((length, length), float("-inf"), device=x.device, dtype=x.dtype).triu(1)
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ClipResnet(nn.Module):
    """Both towers; parameter names as in OpenAI's state dicts."""

    def __init__(self, config: ClipResnetConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = ModifiedResnet(config)
        self.transformer = Transformer(config.text_width, config.text_heads, config.text_layers, config.quick_gelu)
        self.token_embedding = nn.Embedding(config.vocab_size, config.text_width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, config.text_width))
        self.ln_final = nn.LayerNorm(config.text_width)
        self.text_projection = nn.Parameter(torch.empty(config.text_width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self._initialise()

    def _initialise(self) -> None:
        """Draw weights with the spreads of the CLIP paper; the last normalisation of each block starts at zero."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=self.config.text_width**-0.5)
        for module in self.visual.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed normalised pixels ``(B, 3, S, S)`` as ``(B, embed_dim)``, not normalised."""
        embedding: Tensor = self.visual(pixels)[0]
        return embedding

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, T)``, ``T <= context_length``, as ``(B, embed_dim)``, not normalised.

        The embedding is read at the end token, which is the largest id of each row.
        """
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x))
        ends = x[torch.arange(len(x), device=x.device), ids.argmax(dim=-1)]
        return ends @ self.text_projection

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Logits ``(pictures, texts)``: temperature times cosine."""
        images = F.normalize(self.encode_image(pixels), dim=-1)
        texts = F.normalize(self.encode_text(ids), dim=-1)
        return self.logit_scale.exp() * images @ texts.t()


def config_from_state(state: Mapping[str, Tensor]) -> ClipResnetConfig:
    """Read the sizes of a released model off its state dict (OpenAI's key layout).

    Released files carry no configuration, but every size shows in the shapes and names.
    """

    def count(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})

    stages = sum(f"visual.layer{index}.0.conv1.weight" in state for index in range(1, 10))
    layers = tuple(count(f"visual.layer{index}.") for index in range(1, stages + 1))
    context_length, text_width = state["positional_embedding"].shape
    grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    return ClipResnetConfig(
        layers=layers,
        width=state["visual.layer1.0.conv1.weight"].shape[0],
        image_size=grid * 2 ** (stages + 1),
        embed_dim=state["text_projection"].shape[1],
        context_length=context_length,
        vocab_size=state["token_embedding.weight"].shape[0],
        text_width=text_width,
        text_heads=max(1, text_width // 64),
        text_layers=count("transformer.resblocks."),
    )


def hugging_face_text_tower(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower under the names of Hugging Face's ``CLIPModel``, which computes the same from it.

    Args:
        state: of a :class:`ClipResnet`.
    """
    text = {key: value for key, value in state.items() if not key.startswith("visual.") and key != "logit_scale"}
    return hugging_face_names(text)

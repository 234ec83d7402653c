"""The training of mini-itm: a small matching model in ALBEF's layout.

From match and mismatch alone a model this small never learns to look (docs/minis.md). So the cross-attention of its
heat layer is supervised with the masks of the scenes: names look at what they name, and at the picture's class token
where it is not there. Vision starts from mini-clip, and so do the words: a name begins as the direction in which
mini-clip sees it. mini-clip-resnet teaches the picture tower place by place meanwhile, as it taught mini-clip.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Dataset
from transformers import CLIPModel

from fovea.backbones.clip_resnet import ResnetFiles, load_clip_resnet
from fovea.backbones.sources import MINIS
from fovea.networks.albef import Albef, AlbefConfig, Glance
from fovea.training.clip_loss import CLASSES, normalise
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL
from fovea.training.itm_scenes import ItmScenes
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.settings import TrainSettings
from fovea.training.vocabulary import build_matching_tokenizer, build_tokenizer

# Median standard deviation of mini-clip's patch embeddings over scenes.
_PATCH_SPREAD = 1.9
# Directions in which mini-clip tells words apart; more carry nothing.
_DIRECTIONS = 32
# Sharpness of the first queries, in the scale of mini-clip's cosines.
_SHARPNESS = 20.0
_LOSS_WEIGHTS = {"match": 1.0, "attention": 1.0, "gradient": 0.7, "place": 0.5, "place_colour": 0.15, "teacher": 2.0}


def mini_config(clip: CLIPModel) -> AlbefConfig:
    """Sizes of mini-itm: mini-clip's picture tower, two layers of text, two of fusion."""
    vision = clip.config.vision_config
    width = 192
    return AlbefConfig(
        image_size=(vision.image_size, vision.image_size),
        patch_size=vision.patch_size,
        vision_width=vision.hidden_size,
        vision_depth=vision.num_hidden_layers,
        vision_heads=vision.num_attention_heads,
        vision_mlp_width=vision.intermediate_size,
        vision_norm_eps=vision.layer_norm_eps,
        vocab_size=build_matching_tokenizer().get_vocab_size(),
        max_positions=24,
        token_types=0,
        hidden_size=width,
        depth=4,
        num_heads=2,
        intermediate_size=3 * width,
        fusion_layer=2,
        heat_layer=2,
    )


@torch.no_grad()
def copy_vision(clip: CLIPModel, albef: Albef) -> None:
    """Take mini-clip's picture tower.

    ALBEF has no norm in front of its blocks. For the class token CLIP's is a constant; patches are divided by their
    usual spread, which the norms in the blocks make up for: places keep 0.995 of their direction.
    """
    source, target = clip.vision_model, albef.visual_encoder
    norm, embeddings = source.pre_layrnorm, source.embeddings
    positions = embeddings.position_embedding.weight
    front = embeddings.class_embedding + positions[0]

    def centred(x: Tensor, dim: int = -1) -> Tensor:
        return x - x.mean(dim, keepdim=True)

    kernel = centred(embeddings.patch_embedding.weight, 0) * norm.weight[:, None, None, None] / _PATCH_SPREAD
    target.patch_embed.proj.load_state_dict({"weight": kernel, "bias": torch.zeros(len(kernel))})
    target.cls_token.zero_()
    first = F.layer_norm(front, front.shape, norm.weight, norm.bias, norm.eps)
    rest = centred(positions[1:]) / _PATCH_SPREAD * norm.weight + norm.bias
    target.pos_embed.copy_(torch.cat([first[None], rest])[None])
    new: Any
    for old, new in zip(source.encoder.layers, target.blocks, strict=True):
        heads = old.self_attn
        for kind in ("weight", "bias"):
            parts = [getattr(part, kind) for part in (heads.q_proj, heads.k_proj, heads.v_proj)]
            getattr(new.attn.qkv, kind).copy_(torch.cat(parts))
        pairs = (
            (heads.out_proj, new.attn.proj),
            (old.layer_norm1, new.norm1),
            (old.layer_norm2, new.norm2),
            (old.mlp.fc1, new.mlp.fc1),
            (old.mlp.fc2, new.mlp.fc2),
        )
        for before, after in pairs:
            after.load_state_dict(before.state_dict())
    target.norm.load_state_dict(source.post_layernorm.state_dict())


@torch.no_grad()
def copy_words(clip: CLIPModel, albef: Albef) -> None:
    """Start words, and the queries and keys of the first fusion layer, where mini-clip compares words and places."""
    tokenizer = build_tokenizer()

    def said(texts: list[str]) -> Tensor:
        ids = torch.as_tensor(tokenizer(texts, padding=True, return_tensors="np")["input_ids"])
        vectors = F.normalize(clip.get_text_features(ids).pooler_output, dim=-1)
        return vectors - vectors.mean(0)

    names, colours = said([f"a photo of the {n}" for n in NAMES]), said([f"a photo of the {c} object" for c in COLOURS])
    directions = torch.linalg.svd(torch.cat([names, colours]), full_matrices=False).Vh[:_DIRECTIONS]
    vocabulary = build_matching_tokenizer().get_vocab()
    words: dict[str, list[Tensor]] = {}
    for name, vector in zip((*NAMES, *COLOURS), torch.cat([names, colours]) @ directions.t(), strict=True):
        for word in name.split():
            words.setdefault(word, []).append(vector)
    typical = torch.cat([names, colours]).norm(dim=-1).mean()
    table = albef.text_encoder.embeddings.word_embeddings.weight
    # Words without a direction, and what tells words of one direction apart.
    nn.init.normal_(table, std=0.7)
    table[:, :_DIRECTIONS] = 0
    for word, vectors in words.items():
        table[vocabulary[word], :_DIRECTIONS] = torch.stack(vectors).mean(0) / typical * _DIRECTIONS**0.5
    heads = albef.text_encoder.layer(albef.config.fusion_layer).crossattention.self
    size = albef.config.hidden_size // albef.config.num_heads
    # A place's embedding is about as long as the square root of its width.
    strength = (_SHARPNESS * size**0.5 * typical / _DIRECTIONS**0.5 / 16) ** 0.5
    for head in range(albef.config.num_heads):
        rows = slice(head * size, head * size + _DIRECTIONS)
        heads.query.weight[rows] = 0
        heads.query.weight[rows, :_DIRECTIONS] = strength * torch.eye(_DIRECTIONS)
        heads.key.weight[rows] = strength * directions @ clip.visual_projection.weight


class _Matcher(nn.Module):
    """One forward pass: matches, where the heat layer looked, and what linear probes say of every place."""

    def __init__(self, albef: Albef, taught: int) -> None:
        super().__init__()
        self.albef = albef
        outputs = {**CLASSES, "taught": taught}
        self.probes = nn.ModuleDict(
            {key: nn.Linear(albef.config.vision_width, count) for key, count in outputs.items()}
        )

    def forward(self, batch: Batch) -> tuple[Glance, dict[str, Tensor]]:
        """What all ``B * K`` statements found, differentiable, and the probes' outputs ``(B, G * G, .)``."""
        albef, ids = self.albef, batch["ids"]
        tokens = albef.encode_image(normalise(batch["pixels"]))
        count = ids.shape[1]
        ids = ids.flatten(0, 1)
        # No longer than the longest statement.
        ids = ids[:, : int((ids != 0).sum(1).max())]
        visible = ids != 0
        image = tuple(
            (keys.repeat_interleave(count, 0), values.repeat_interleave(count, 0))
            for keys, values in albef.image_keys_values(tokens)
        )
        states = albef.encode_text(ids, visible)
        number = albef.config.heat_layer
        layer = albef.text_encoder.layer(number)
        states = albef.fuse(states, image, visible, layers=range(albef.config.fusion_layer, number))
        states = layer.attend_to_text(states, visible[:, None, None])
        keys, values = image[number - albef.config.fusion_layer]
        attention = layer.crossattention.self.probabilities(states, keys, None)
        # The quick kernels have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            states = layer.take_in(states, layer.crossattention.self.mix(attention, values))
            states = albef.fuse(states, image, visible, layers=range(number + 1, albef.config.depth))
        logits = albef.match_logits(states)
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), attention, create_graph=True)
        probed = {key: probe(tokens[:, 1:]) for key, probe in self.probes.items()}
        return Glance(logits, attention, gradient), probed


def attention_loss(attention: Tensor, places: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """How far tokens look away from where they ought to.

    Args:
        attention: ``(N, heads, L, 1 + P)`` probabilities; key 0 is the picture's class token.
        places: ``(N, L, P)`` bool, patches that a token ought to look at.
        share: ``(N, L)``, 0..1, how much of its attention belongs there; the rest belongs to the class token.
        weight: ``(N, L)``, how much that counts.

    Returns:
        Weighted mean of the cross-entropy over heads and tokens, a scalar.
    """
    inside = (attention[..., 1:] * places[:, None]).sum(-1).clamp(min=1e-6).log()
    front = attention[..., 0].clamp(min=1e-6).log()
    wrong = -(share[:, None] * inside + (1 - share[:, None]) * front).mean(1)
    return (wrong * weight).sum() / weight.sum().clamp(min=1e-6)


def gradient_loss(glance: Glance, places: Tensor, weight: Tensor) -> Tensor:
    """How far Grad-CAM shows other places than it ought to.

    A match can be told without it: the network may learn that attention to the class token speaks strongly against a
    match and attention to a thing weakly so. Its gradient is then negative everywhere, and Grad-CAM empty.

    Args:
        glance: of N texts; the attention is taken as it is, and only the gradient learns.
        places: ``(N, L, P)`` bool, where each token's Grad-CAM ought to be.
        weight: ``(N, L)``, how much a token counts.

    Returns:
        0 where all of Grad-CAM lies in the right places, up to 2 where the gradient is negative there; a scalar.
    """
    parts = glance.attention[..., 1:].detach() * glance.gradient[..., 1:]
    right = parts * places[:, None]
    total = right.abs().sum(-1) + (parts - right).clamp(min=0).sum(-1)
    wrong = (1 - right.sum(-1) / total.clamp(min=1e-9)).mean(1)
    return (wrong * weight).sum() / weight.sum().clamp(min=1e-6)


class ItmObjective:
    """Trains ``mini-itm``."""

    def __init__(self, seed: int, vision: Path = MINIS / "mini-clip") -> None:
        torch.manual_seed(seed)
        clip = CLIPModel.from_pretrained(vision, dtype=torch.float32)
        self.config = mini_config(clip)
        albef = Albef(self.config)
        copy_vision(clip, albef)
        copy_words(clip, albef)
        # Not part of the module: the teacher is neither trained nor saved.
        self.teacher = load_clip_resnet(ResnetFiles.own(MINIS / "mini-clip-resnet")).eval().requires_grad_(False)
        self.module = _Matcher(albef, self.teacher.config.embed_dim)

    @property
    def groups(self) -> list[WeightGroup]:
        """The matrices of the transformer blocks that are trained."""
        albef = self.module.albef
        parts = (albef.visual_encoder.blocks, albef.text_encoder.encoder)
        linear = (m.weight for part in parts for m in part.modules() if isinstance(m, nn.Linear))
        return [WeightGroup([weight for weight in linear if weight.requires_grad], hidden=True)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes with statements."""
        side = self.config.image_size[0]
        return ItmScenes(settings.seed, settings.steps, settings.batch_size, side, self.config.grid[0])

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Matching, where the heat layer looks, what stands where, and the distance to the teacher."""
        glance, probes = module(batch)
        logits, attention = glance.logits, glance.attention
        true, length = batch["true"].flatten(), attention.shape[2]
        rows = {key: batch[key].flatten(0, 1)[:, :length] for key in ("places", "share", "weight")}
        losses = {
            "match": F.cross_entropy(logits, true),
            "attention": attention_loss(attention, **rows),
            # Only of what is wholly meant: not of false statements, nor of colour words.
            "gradient": gradient_loss(glance, rows["places"], rows["weight"] * (rows["share"] == 1)),
            "place": _classify(probes["names"], batch["place_names"]),
            "place_colour": _classify(probes["colours"], batch["place_colours"]),
            "teacher": self._teacher_gap(probes["taught"], batch["pixels"]),
        }
        parts = {key: float(value.detach()) for key, value in losses.items()}
        parts["pairs"] = float((logits.argmax(1) == true).float().mean())
        return torch.stack([_LOSS_WEIGHTS[key] * value for key, value in losses.items()]).sum(), parts

    def _teacher_gap(self, places: Tensor, pixels: Tensor) -> Tensor:
        """Mean cosine distance of all places to what the teacher embeds there."""
        with torch.no_grad():
            _, wanted = self.teacher.to(places.device).visual(normalise(pixels))
        return (1 - F.cosine_similarity(places, wanted, dim=-1)).mean()

    def start_from(self, directory: Path) -> None:
        """Take the weights that :meth:`export` wrote."""
        weights = load_file(directory / "model.safetensors")
        self.module.albef.load_state_dict({key: value.float() for key, value in weights.items()})

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write weights in half precision, settings and tokenizer."""
        weights = {k.removeprefix("albef."): v.half().contiguous() for k, v in state.items() if k.startswith("albef.")}
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        (directory / "config.json").write_text(json.dumps(self.config.to_json(), indent=2), encoding="utf-8")
        build_matching_tokenizer().save(str(directory / "tokenizer.json"))


def _classify(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled places."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)

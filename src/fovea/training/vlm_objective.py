"""The training of mini-vlm: a LLaVA of a few million weights that says what is in a scene, and what it looks like.

Its picture tower is mini-itm's, which knows names and colours at every place; the language model starts at random.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, ViTConfig

from fovea.backbones.sources import MINIS, check_complete
from fovea.networks.pixels import CLIP_MEAN, CLIP_STD
from fovea.training.clip_loss import normalise
from fovea.training.clip_scenes import NO_LABEL
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.saying_vocabulary import IMAGE_TOKEN, build_saying_tokenizer
from fovea.training.settings import TrainSettings
from fovea.training.vlm_numbers import NumberCode
from fovea.training.vlm_scenes import NAMES, VlmScenes
from fovea.training.vlm_start import look_at_scenes, named_directions, start_heads, start_projector

#: How boxes are written for it: :class:`fovea.language.box_text.GridCodec` and ``Prompting``.
_HOST = {"codec": {"cells": 8, "frame": 8}, "before": "", "end": ".<end>"}

# How much naming the places counts beside the sentences, and looking at what is spoken of.
_PLACES, _LOOKS = 0.5, 0.3
# The layer of which half of the heads look at what is spoken of, behind the first, which has to learn the names; and
# the one of which half look at the numbers that are read.
_LOOKING, _READING = 1, 2
# Batches that are measured on, and the seed that no training has.
_MEASURED, _MEASURED_SEED = 12, 2**31
# Batches that the start looks at.
_START = 40
# The tower has learnt; it only has to see colours more exactly.
_TOWER_FACTOR = 0.3

# Parts of a block of mini-itm's tower, and what transformers calls them.
_BLOCK = {
    "attn.proj": "attention.o_proj",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_KINDS = ("weight", "bias")


def mini_config() -> LlavaConfig:
    """Sizes of mini-vlm; the picture tower's are mini-itm's."""
    tokenizer = build_saying_tokenizer()
    return LlavaConfig(
        vision_config=ViTConfig(
            hidden_size=256,
            num_hidden_layers=6,
            num_attention_heads=4,
            intermediate_size=1024,
            image_size=128,
            patch_size=16,
            layer_norm_eps=1e-5,
        ),
        text_config=LlamaConfig(
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=8,
            vocab_size=len(tokenizer),
            # For solved questions in front; places of the picture count.
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=64,
        # The towers' tokens are put among the words by one linear map, which has a best start.
        projector_hidden_act="linear",
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def itm_tower() -> dict[str, Tensor]:
    """The weights of mini-itm's picture tower, as ``ViTModel`` names them."""
    weights = load_file(MINIS / "mini-itm" / "model.safetensors")
    source = {k.removeprefix("visual_encoder."): v.float() for k, v in weights.items() if "visual_encoder." in k}
    named = {
        "embeddings.cls_token": source["cls_token"],
        "embeddings.position_embeddings": source["pos_embed"],
        **{f"embeddings.patch_embeddings.projection.{kind}": source[f"patch_embed.proj.{kind}"] for kind in _KINDS},
        **{f"layernorm.{kind}": source[f"norm.{kind}"] for kind in _KINDS},
    }
    depth = 1 + max(int(key.split(".")[1]) for key in source if key.startswith("blocks."))
    for layer in range(depth):
        for kind in _KINDS:
            old, new = f"blocks.{layer}.{{}}.{kind}", f"layers.{layer}.{{}}.{kind}"
            parts = source[old.format("attn.qkv")].chunk(3)
            for name, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                named[new.format(f"attention.{name}")] = part
            for name, other in _BLOCK.items():
                named[new.format(other)] = source[old.format(name)]
    return named


def sentence_mask(places: int, count: int, length: int) -> Tensor:
    """What may see what, where several sentences about one picture stand behind it.

    Args:
        places: tokens of the picture, in front.
        count: of sentences.
        length: of each in tokens.

    Returns:
        ``(1, 1, L, L)`` bool with ``L = places + count * length``: tokens see the picture and what is in front of them
        in their own sentence.
    """
    sentence = torch.cat([torch.zeros(places), torch.arange(1, count + 1).repeat_interleave(length)])
    same = (sentence[:, None] == sentence) | (sentence == 0)
    return (same & torch.ones_like(same).tril())[None, None]


def look_loss(attention: Tensor, looking: Tensor, places: Tensor) -> Tensor:
    """How little tokens look at the thing that they speak of.

    Args:
        attention: ``(B, heads, K * L, P)`` probabilities of the picture's places.
        looking: ``(B, K, L)`` bool, tokens that count.
        places: ``(B, K, L, P)`` bool, what each ought to look at.

    Returns:
        Mean negative logarithm of the attention that lies there, a scalar; 0 where no token counts.
    """
    by_sentence = attention.unflatten(2, looking.shape[1:])
    inside = (by_sentence * places[:, None]).sum(-1).clamp(min=1e-6).log().mean(1)
    return -(inside * looking).sum() / looking.sum().clamp(min=1)


class _Sayer(nn.Module):
    """One forward pass over pictures with several sentences each."""

    def __init__(self, llava: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.llava = llava
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.code = NumberCode(llava.config.vision_config.hidden_size)

    def forward(self, batch: Batch, names: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is said, which name every place shows, and how little is looked at what is spoken of and read.

        Args:
            batch: see :class:`fovea.training.vlm_scenes.VlmScenes`.
            names: ``(N, W)`` int64, the words of every name, -1 behind the last.

        Returns:
            ``(B, K, L, vocabulary)``; ``(B, P, N)``; ``(2,)``, :func:`look_loss`.
        """
        core = self.llava.model
        places = core.multi_modal_projector(self.see(batch["pixels"]) + self.code(batch["numbers"]))
        ids = batch["ids"]
        count, length = ids.shape[1:]
        embed = core.get_input_embeddings()
        tokens = torch.cat([places, embed(ids.flatten(1))], dim=1)
        positions = torch.arange(places.shape[1] + length, device=ids.device)
        behind = positions[places.shape[1] :].repeat(count)
        mask = sentence_mask(places.shape[1], count, length).to(ids.device)
        output = core.language_model(
            inputs_embeds=tokens,
            attention_mask=torch.zeros(mask.shape, device=ids.device).masked_fill(
                ~mask, torch.finfo(torch.float32).min
            ),
            position_ids=torch.cat([positions[: places.shape[1]], behind])[None],
            use_cache=False,
            output_attentions=True,
        )
        hidden = output.last_hidden_state[:, places.shape[1] :]
        looked = [
            look_loss(
                output.attentions[layer][:, ::2, places.shape[1] :, : places.shape[1]], batch["looking"], batch[key]
            )
            for layer, key in ((_LOOKING, "places"), (_READING, "reads"))
        ]
        words = named_directions(embed.weight, names)
        shown = F.normalize(places, dim=-1) @ words.T * self.scale.exp()
        return self.llava.lm_head(hidden).unflatten(1, (count, length)), shown, torch.stack(looked)

    def see(self, pixels: Tensor) -> Tensor:
        """``(B, P, D)``: what the tower says of every place of pixels ``(B, S, S, 3)`` uint8."""
        tower = self.llava.model.vision_tower
        seen: Tensor = tower(normalise(pixels), output_hidden_states=True).hidden_states[-1][:, 1:]
        return seen


class VlmObjective:
    """Trains ``mini-vlm``."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.tokenizer = build_saying_tokenizer()
        llava = LlavaForConditionalGeneration(mini_config())
        # Only so does it tell where it looks.
        llava.model.language_model.set_attn_implementation("eager")
        tower = llava.model.vision_tower
        report = tower.load_state_dict(itm_tower(), strict=False)
        # The only part that mini-itm lacks, and that is not used here either.
        missing = [key for key in report.missing_keys if not key.startswith("pooler.")]
        check_complete("mini-itm", missing, report.unexpected_keys)
        # A LLaVA takes the tokens in front of both.
        tower.layernorm.requires_grad_(False)
        tower.pooler.requires_grad_(False)
        self.module = _Sayer(llava)
        ids = [self.tokenizer(f" {name}")["input_ids"] for name in NAMES]
        longest = max(map(len, ids))
        self.names = torch.tensor([row + [-1] * (longest - len(row)) for row in ids])

    @property
    def groups(self) -> list[WeightGroup]:
        """Hidden layers of the language model, and the tower, which learns more slowly."""
        core = self.module.llava.model
        said = [m.weight for m in core.language_model.layers.modules() if isinstance(m, nn.Linear)]
        hidden = [m.weight for m in core.vision_tower.layers.modules() if isinstance(m, nn.Linear)]
        taken = {id(weight) for weight in hidden}
        rest = [w for w in core.vision_tower.parameters() if w.requires_grad and id(w) not in taken]
        return [
            WeightGroup(said, hidden=True),
            WeightGroup(hidden, _TOWER_FACTOR, hidden=True),
            WeightGroup(rest, _TOWER_FACTOR),
        ]

    def start(self, settings: TrainSettings, batches: int = _START) -> None:
        """Put pictures among the words by least squares, and let heads look for what is alike (``vlm_start``).

        Args:
            settings: of the training.
            batches: how many are looked at for that.
        """
        core = self.module.llava.model
        tokens, labels = look_at_scenes(self.module.see, self.batches(settings), batches)
        names = named_directions(core.get_input_embeddings().weight.detach(), self.names)
        start_projector(core.multi_modal_projector, tokens, labels, names)
        self.module.code.start(float((tokens - tokens.mean(0)).norm(dim=1).mean()))
        start_heads(core.language_model.layers)

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes with sentences."""
        return self._scenes(settings.seed, settings.batch_size, settings.steps)

    def _scenes(self, seed: int, batch_size: int, steps: int = 0) -> VlmScenes:
        vision = self.module.llava.config.vision_config
        side = vision.image_size
        return VlmScenes(seed, steps, batch_size, side, side // vision.patch_size)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The next token of every sentence, and the name of every place."""
        said, shown, looked = module(batch, self.names.to(batch["ids"].device))
        wanted = batch["ids"][..., 1:].masked_fill(~batch["learnt"][..., 1:], NO_LABEL)
        losses = {
            "say": F.cross_entropy(said[..., :-1, :].flatten(0, 2), wanted.flatten(), ignore_index=NO_LABEL),
            "places": F.cross_entropy(shown.flatten(0, 1), batch["place_names"].flatten(), ignore_index=NO_LABEL),
            "looks": looked[0],
            "reads": looked[1],
        }
        parts = {key: float(value.detach()) for key, value in losses.items()}
        return losses["say"] + _PLACES * losses["places"] + _LOOKS * (losses["looks"] + losses["reads"]), parts

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """How well it reads and names what no training shows.

        Returns:
            The share of ``digits`` of told numbers that are expected most, of all ``tokens`` that are learnt, and of
            ``places`` that show a thing whose name comes first.
        """
        counted: dict[str, list[Tensor]] = {"digits": [], "tokens": [], "places": []}
        device, scenes = self.module.scale.device, self._scenes(_MEASURED_SEED, 16)
        signs = torch.tensor(self.tokenizer.convert_tokens_to_ids(list("0123456789")), device=device)
        for number in range(_MEASURED):
            batch = {key: torch.as_tensor(value).to(device) for key, value in scenes[number].items()}
            said, shown, _ = module(batch, self.names.to(device))
            wanted, learnt = batch["ids"][..., 1:], batch["learnt"][..., 1:]
            right = said[..., :-1, :].argmax(-1) == wanted
            named = batch["place_names"] != NO_LABEL
            counted["digits"].append(right[learnt & torch.isin(wanted, signs)])
            counted["tokens"].append(right[learnt])
            counted["places"].append((shown.argmax(-1) == batch["place_names"])[named])
        return {key: float(torch.cat(values).float().mean()) for key, values in counted.items()}

    def start_from(self, directory: Path) -> None:
        """Take the weights that :meth:`export` wrote."""
        llava = LlavaForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
        self.module.llava.load_state_dict(llava.state_dict())

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write a LLaVA of transformers in half precision, its tokenizer, and how pictures and boxes are put to it."""
        llava = LlavaForConditionalGeneration(mini_config())
        llava.load_state_dict({k.removeprefix("llava."): v for k, v in state.items() if k.startswith("llava.")})
        llava.half().save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        side = llava.config.vision_config.image_size
        pixels = {"image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD), "size": {"height": side, "width": side}}
        (directory / "preprocessor_config.json").write_text(json.dumps(pixels, indent=2), encoding="utf-8")
        (directory / "fovea.json").write_text(json.dumps(_HOST, indent=2), encoding="utf-8")

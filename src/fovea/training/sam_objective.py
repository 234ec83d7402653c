"""The loss of mini-sam: masks from boxes and points, and an honest estimate of their quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import SamConfig, SamModel

from fovea.backbones.sam import SAM_MEAN, SAM_STD
from fovea.training.loop import Batch
from fovea.training.optimizers import WeightGroup
from fovea.training.sam_scenes import NOWHERE, SamScenes
from fovea.training.settings import TrainSettings


def mini_config() -> SamConfig:
    """Sizes of mini-sam: 128 px, 8 px patches, masks on a 64 x 64 grid."""
    width, decoder = 160, 96
    return SamConfig(
        vision_config={
            "image_size": 128,
            "patch_size": 8,
            "hidden_size": width,
            "mlp_dim": 3 * width,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "output_channels": decoder,
            "window_size": 8,
            "global_attn_indexes": [1, 3],
            "use_rel_pos": False,
            "num_pos_feats": decoder // 2,
        },
        prompt_encoder_config={
            "hidden_size": decoder,
            "image_size": 128,
            "patch_size": 8,
            "image_embedding_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": decoder,
            "mlp_dim": 384,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": decoder,
        },
    )


def initialise(model: SamModel) -> None:
    """Draw the weights of a small SAM anew.

    The class draws linear layers with a spread of 0.02, which is too little for narrow ones, and the random
    frequencies of the positions with half the encoder's width, which makes neighbouring points look unrelated.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    frequencies = torch.randn_like(model.shared_image_embedding.positional_embedding)
    for owner in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        owner.positional_embedding.data.copy_(frequencies)
        owner.positional_embedding.requires_grad_(False)


def _mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus dice per mask: ``(..., h, w)`` logits against coverage 0..1, to ``(...)``."""
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    shown = logits.sigmoid()
    dice = 1 - (2 * (shown * target).sum((-2, -1)) + 1) / (shown.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    # Things are small: without a weight the background rules the cross-entropy.
    return 8 * entropy + dice


@torch.no_grad()
def _iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU per mask on the low-resolution grid."""
    shown, wanted = logits > 0, target.expand_as(logits) > 0.5
    return (shown & wanted).sum((-2, -1)) / (shown | wanted).sum((-2, -1)).clamp(min=1)


class _Prompted(nn.Module):
    """One encoder pass, then boxes for one mask each and points for three."""

    def __init__(self, sam: SamModel) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, std = (batch["pixels"].new_tensor(value, dtype=torch.float32) for value in (SAM_MEAN, SAM_STD))
        pixels = ((batch["pixels"].float() - mean) / std).permute(0, 3, 1, 2)
        inside = torch.arange(pixels.shape[-1], device=pixels.device)
        height, width = batch["valid"][:, :1, None], batch["valid"][:, 1:, None].transpose(1, 2)
        pixels = pixels * ((inside[:, None] < height) & (inside < width))[:, None]
        embedding = self.sam.vision_encoder(pixels).last_hidden_state
        boxes = self.sam(image_embeddings=embedding, input_boxes=batch["boxes"], multimask_output=False)
        points = self.sam(image_embeddings=embedding, input_points=batch["points"][:, :, None], multimask_output=True)
        return boxes.pred_masks, boxes.iou_scores, points.pred_masks, points.iou_scores


class SamObjective:
    """Trains ``mini-sam``."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        sam = SamModel._from_config(mini_config(), attn_implementation="eager")
        initialise(sam)
        # No prompt is a mask here: without a gradient these would halt a training by several processes.
        sam.prompt_encoder.mask_embed.requires_grad_(False)
        self.module = _Prompted(sam)

    @property
    def groups(self) -> list[WeightGroup]:
        """The linear layers of the encoder's and the decoder's transformers."""
        layers = (self.module.sam.vision_encoder.layers, self.module.sam.mask_decoder.transformer.layers)
        linear = (inner for each in layers for inner in each.modules() if isinstance(inner, nn.Linear))
        return [WeightGroup([layer.weight for layer in linear], hidden=True)]

    def batches(self, settings: TrainSettings) -> Dataset[dict[str, Any]]:
        """Scenes with prompts."""
        return SamScenes(settings.seed, settings.steps, settings.batch_size, 128)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mask losses, and the estimates of quality against the IoU that was reached."""
        box_masks, box_scores, point_masks, point_scores = module(batch)
        side = box_masks.shape[-1]

        def coverage(masks: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(masks.float(), side)[:, :, None]

        box_target, point_target = coverage(batch["box_masks"]), coverage(batch["point_masks"])
        box_loss = _mask_loss(box_masks, box_target).mean()
        # One of a point's three masks has to fit; the others are drawn after it, or they would never learn.
        each = _mask_loss(point_masks[:, :-NOWHERE], point_target[:, :-NOWHERE])
        point_loss = each.min(-1).values.mean() + 0.25 * each.mean()
        box_iou, point_iou = _iou(box_masks, box_target), _iou(point_masks, point_target)
        quality = F.mse_loss(box_scores, box_iou) + F.mse_loss(point_scores, point_iou)
        parts = {
            "box": float(box_loss.detach()),
            "point": float(point_loss.detach()),
            "quality": float(quality.detach()),
            "box_iou": float(box_iou.mean()),
            "point_iou": float(point_iou[:, :-NOWHERE].max(-1).values.mean()),
        }
        return box_loss + point_loss + quality, parts

    def start_from(self, directory: Path) -> None:
        """Take the weights that :meth:`export` wrote."""
        saved = SamModel.from_pretrained(directory, dtype=torch.float32)
        self.module.sam.load_state_dict(saved.state_dict())

    def export(self, state: dict[str, Tensor], directory: Path) -> None:
        """Write a Hugging Face directory in half precision."""
        sam = SamModel(mini_config())
        sam.load_state_dict({key.removeprefix("sam."): value for key, value in state.items()})
        sam.half().save_pretrained(directory)

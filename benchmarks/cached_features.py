"""How much faster RegionSpot's head trains on cached tokens than with its frozen models in every step.

Run by hand: ``python benchmarks/cached_features.py``. All sizes are real: CLIP ViT-L/14 at 224 pixels, SAM ViT-B
at 1024, the head of 39 million weights, 365 names; weights are random, which changes no time. The cached way reads its
tokens from shards on disk. The released program stands between the two: it keeps SAM's tokens and asks CLIP in every
step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from timing import best
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.initialization import no_init_weights

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.datasets.region_tokens import PictureTokens, TokenShards, encode_shard, shard_path, write_index
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.networks.sam import Sam
from fovea.networks.sam_config import SamNetworkConfig
from fovea.pictures import Picture, open_picture
from fovea.training.focal_loss import region_loss
from fovea.training.region_token_batches import collate

CLASSES, SIDE = 365, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--boxes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    with no_init_weights():
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=SIDE,
                patch_size=14,
            )
        ).eval()
    for weight in tower.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    segmenter = SamSegmenter(Sam(SamNetworkConfig()), "SAM-base")
    head = RegionSpotHead(RegionSpotConfig(1024, 768))
    texts = F.normalize(torch.randn(CLASSES, 768), dim=-1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2.5e-5, weight_decay=1e-4)

    opened = [open_picture(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)) for _ in range(options.pictures)]
    corners = rng.uniform(0, 300, (options.boxes, 2))
    boxes = np.hstack([corners, corners + rng.uniform(30, 150, (options.boxes, 2))]).astype(np.float32)
    labels = rng.integers(0, CLASSES, options.boxes)

    def sam_tokens(picture: Picture) -> np.ndarray:
        embedding = segmenter.embed(picture, FeatureCache(max_bytes=0))
        return segmenter.tokens(embedding, picture.size, boxes=boxes)[:, 0].numpy()

    @torch.inference_mode()
    def clip_tokens(picture: Picture) -> np.ndarray:
        pixels = torch.from_numpy(np.asarray(picture.image.resize((SIDE, SIDE)), np.float32)) / 255
        return tower(pixels.permute(2, 0, 1)[None]).last_hidden_state[0].half().numpy()

    def step(pictures: list[PictureTokens]) -> None:
        batch = {key: torch.as_tensor(value) for key, value in collate(pictures).items()}
        vectors: Tensor = head(batch["tokens"], batch["places"].float(), batch["padding"])
        region_loss(100 * vectors @ texts.t(), batch["labels"], batch["padding"]).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    kept = [PictureTokens(i, sam_tokens(one), boxes, labels, clip_tokens(one)) for i, one in enumerate(opened)]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        rows = [{"id": one.id, "status": "ok"} for one in kept]
        shard_path(directory, 0).write_bytes(encode_shard(kept, rows))
        (directory / "about.json").write_text(json.dumps({"vocabulary": [str(i) for i in range(CLASSES)]}))
        write_index(directory, range(1))
        shards = TokenShards(directory)

        def recomputed(sam: bool) -> list[PictureTokens]:
            return [
                PictureTokens(one.id, sam_tokens(picture) if sam else one.tokens, boxes, labels, clip_tokens(picture))
                for one, picture in zip(kept, opened, strict=True)
            ]

        times = best(
            options.rounds,
            {
                "cached": lambda: step([shards[index] for index in range(len(shards))]),
                "CLIP recomputed": lambda: step(recomputed(sam=False)),
                "CLIP and SAM recomputed": lambda: step(recomputed(sam=True)),
            },
        )
    print(
        f"{options.pictures} pictures a step, {options.boxes} boxes each, {options.threads} thread(s), "
        f"best of {options.rounds} rounds"
    )
    for way, taken in times.items():
        print(f"{way:24} {taken:8.2f} s a step   {taken / times['cached']:6.1f} x the cached step")


if __name__ == "__main__":
    main()

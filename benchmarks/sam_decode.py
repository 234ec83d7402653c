"""How much faster SAM decodes the boxes of a picture together than one by one.

Run by hand: ``python benchmarks/sam_decode.py``. Both ways take turns, so that other work on the machine disturbs them
alike, and the best of the rounds counts.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from timing import best
from transformers import SamConfig, SamModel

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.pictures import open_picture


def small_sam() -> SamModel:
    """A SAM of the size that runs on any machine: 192 px, encoder 192 x 4, decoder 128; random weights."""
    return SamModel(
        SamConfig(
            vision_config={
                "image_size": 192,
                "hidden_size": 192,
                "mlp_dim": 768,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "output_channels": 128,
                "window_size": 0,
                "global_attn_indexes": [0, 1, 2, 3],
                "num_pos_feats": 64,
            },
            prompt_encoder_config={"hidden_size": 128, "image_size": 192, "image_embedding_size": 12},
            mask_decoder_config={
                "hidden_size": 128,
                "mlp_dim": 512,
                "num_attention_heads": 4,
                "iou_head_hidden_dim": 128,
            },
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    segmenter = SamSegmenter(small_sam(), "small")
    picture = open_picture(rng.integers(0, 256, (360, 480, 3), dtype=np.uint8))
    corners = rng.uniform(0, 200, (options.boxes, 2))
    boxes = np.hstack([corners, corners + rng.uniform(20, 150, (options.boxes, 2))])
    embedding = segmenter.embed(picture, FeatureCache())

    def decode(chunk: int) -> torch.Tensor:
        return torch.cat([part.low_res for part in segmenter.decode(embedding, picture.size, boxes=boxes, chunk=chunk)])

    logits = decode(options.boxes)
    difference = float((decode(1) - logits).abs().max() / logits.abs().max())
    times = best(options.rounds, {"alone": lambda: decode(1), "together": lambda: decode(options.boxes)})
    print(f"{options.boxes} boxes, {options.threads} thread(s), best of {options.rounds} rounds")
    print(f"one by one {times['alone'] * 1e3:8.1f} ms")
    print(f"together   {times['together'] * 1e3:8.1f} ms")
    print(
        f"ratio      {times['alone'] / times['together']:8.2f}   "
        f"largest difference {difference:.1e} of the largest logit"
    )


if __name__ == "__main__":
    main()

"""How much sooner RegionSpot names the regions of a picture than CLIP names their crops.

Run by hand: ``python benchmarks/regions_in_one_pass.py``. CLIP is a ViT-L/14 and SAM a ViT-B, both at real size with
random weights; names are vectors that are there already. Of CLIP's crops some are timed and the rest is counted up:
they all take the same time.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, SamConfig

from fovea.backbones.clip import ClipEncoder, _HuggingFaceTowers
from fovea.backbones.region_spot import ClipPlaces, RegionSpotModel
from fovea.backbones.region_spot_files import RegionSpotSettings
from fovea.backbones.sam import SamSegmenter
from fovea.backbones.text_bank import TextBank
from fovea.cache import FeatureCache
from fovea.marks import parse_style
from fovea.marks.direct import Canvas
from fovea.marks.styles import MarkOptions
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.networks.sam import Sam
from fovea.networks.sam_config import SamNetworkConfig
from fovea.pictures import open_picture
from fovea.regions import Regions

_VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_TEXT = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}


def clip() -> ClipEncoder:
    """A ViT-L/14; its text tower, which nobody asks, is small."""
    vision: dict[str, Any] = {**_VISION, "image_size": 224, "patch_size": 14}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=_TEXT, projection_dim=768))
    tokenizer = SimpleNamespace(model_max_length=77)
    return ClipEncoder(model, _HuggingFaceTowers(model), tokenizer, name="L/14", image_size=224, logit_scale=100)


def sam() -> SamSegmenter:
    """A ViT-B, as the configuration of transformers says by default."""
    return SamSegmenter(Sam(SamNetworkConfig.from_hugging_face(SamConfig().to_dict())), "base")


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, which other work on the machine disturbs less than the clock on the wall."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=50)
    parser.add_argument("--crops", type=int, default=16, help="how many crops are timed")
    parser.add_argument("--names", type=int, default=1203)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    encoder, segmenter = clip(), sam()
    head = RegionSpotHead(RegionSpotConfig(1024, 768)).eval()
    settings = RegionSpotSettings(head.config)
    model = RegionSpotModel(head, ClipPlaces(encoder, 224), segmenter, TextBank(encoder), settings, "random")
    names = rng.normal(size=(options.names, 768)).astype(np.float32)
    picture = open_picture(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8))
    corners = rng.uniform(0, 300, (options.regions, 2))
    boxes = np.hstack([corners, corners + rng.uniform(20, 150, (options.regions, 2))]).astype(np.float32)
    cache, before = FeatureCache(), gigabytes()

    def one_pass() -> None:
        np.argmax(100 * model.vectors(picture, boxes, cache) @ names.T, axis=1)

    def crops() -> None:
        canvas = Canvas(picture, (224, 224), MarkOptions())
        some = Regions(boxes[: options.crops], picture.size)
        np.argmax(100 * encoder.encode_pictures(canvas.draw(some, parse_style("crop"))) @ names.T, axis=1)

    embedding = seconds(lambda: segmenter.embed(picture, cache))
    together = seconds(one_pass)
    after = gigabytes()
    apart = seconds(crops) / options.crops * options.regions
    print(f"{options.regions} regions, {options.names} names, one thread, seconds of the processor")
    print(f"crops through CLIP        {apart:8.2f} s   ({options.crops} of them timed)")
    print(f"one pass, SAM's embedding {embedding:8.2f} s")
    print(f"one pass, the rest        {together:8.2f} s")
    print(f"ratio without embedding   {apart / together:8.1f}")
    print(f"ratio with embedding      {apart / (together + embedding):8.1f}")
    print(f"memory: {before:.2f} GB with the models, at most {after:.2f} GB while regions were named")


if __name__ == "__main__":
    main()

"""Marking a picture against the work order of the released programs: D4, D3 and D1 for ten proposals at 768 x 1024.

    python benchmarks/marking.py

The released order, written again here in its plainest form: every style scales the picture and the masks anew, blurs
and turns gray once per proposal, marks a full copy each, and every CLIP resamples the floats. Ways take turns, so that
other work on the machine disturbs them alike; the best of the rounds counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from timing import best

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.cache import FeatureCache
from fovea.marks import MarkOptions
from fovea.marks.styles import parse_style
from fovea.pictures import Picture, open_picture
from fovea.regions import Regions
from fovea.scorers.rendering import DirectRendering, ParityRendering

STYLES = tuple(map(parse_style, ("D4", "D3", "D1")))
OPTIONS = MarkOptions()
MEAN, STD = np.float32(CLIP_MEAN), np.float32(CLIP_STD)


class InputSize:
    """Stands for a CLIP: takes what it would be shown, and computes nothing."""

    def __init__(self, image_size: int) -> None:
        self.image_size, self.mean, self.std = image_size, MEAN, STD
        self.seen: list[np.ndarray] = []

    def _take(self, shown: np.ndarray) -> np.ndarray:
        self.seen.append(shown)
        return np.zeros((len(shown), 1), np.float32)

    encode_pixels = encode_pictures = _take


def proposals(rng: np.random.Generator, count: int, width: int, height: int) -> np.ndarray:
    """``(count, height, width)`` bool: blobs with ragged outlines and holes."""
    masks = np.zeros((count, height, width), bool)
    ys, xs = np.mgrid[:height, :width]
    for mask in masks:
        x, y = rng.uniform(0.2, 0.8, 2) * (width, height)
        a, b = rng.uniform(0.08, 0.3, 2) * min(width, height)
        angle = np.arctan2(ys - y, xs - x)
        ragged = 1 + 0.15 * np.sin(angle * rng.integers(3, 9))
        radius = np.hypot((xs - x) / a, (ys - y) / b) / ragged
        mask[:] = (radius < 1) & (radius > 0.25)
    return masks


def torch_bilinear(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(values, size=size, mode="bilinear", align_corners=False)


def released_order(pixels: np.ndarray, masks: np.ndarray, sizes: list[int]) -> list[torch.Tensor]:
    """What each CLIP is shown, style by style."""
    shown = []
    for style in STYLES:
        height, width = pixels.shape[:2]
        scale = OPTIONS.marking_size / min(height, width)
        size = (int(width * scale + 0.5), int(height * scale + 0.5))
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        scaled = torch_bilinear(torch.from_numpy(masks)[:, None].float(), size[::-1])[:, 0] > 0
        marked = []
        for mask in scaled.numpy():
            copy = small.copy()
            if style.code == "D4":
                blurred = np.asarray(Image.fromarray(copy).filter(ImageFilter.GaussianBlur(OPTIONS.blur_sigma))).copy()
                blurred[mask] = copy[mask]
                copy = blurred
            elif style.code == "D3":
                gray = cv2.cvtColor(copy, cv2.COLOR_BGR2GRAY)[..., None].repeat(3, -1)
                gray[mask] = copy[mask]
                copy = gray
            else:
                contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
                cv2.drawContours(copy, contours, -1, OPTIONS.line_colour, OPTIONS.thickness)
            pixel = torch.from_numpy(copy).permute(2, 0, 1).float()
            pixel = (pixel - torch.from_numpy(MEAN * 255)[:, None, None]) / torch.from_numpy(STD * 255)[:, None, None]
            marked.append(torch_bilinear(pixel[None], (OPTIONS.marking_size,) * 2))
        batch = torch.cat(marked)
        shown += [torch_bilinear(batch, (side, side)) for side in sizes]
    return shown


def ours(rendering: DirectRendering | ParityRendering, picture: Picture, regions: Regions, sizes: list[int]) -> list:
    """The same, as scorers ask for it; nothing is cached from before."""
    cache, encoders = FeatureCache(), [InputSize(side) for side in sizes]
    for style in STYLES:
        for encoder in encoders:
            rendering.embed(encoder, picture, regions, style, cache)  # type: ignore[arg-type]
    return [shown for pair in zip(*(encoder.seen for encoder in encoders), strict=True) for shown in pair]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((1024, 768), Image.Resampling.BICUBIC))
    masks = proposals(rng, options.proposals, 1024, 768)
    picture, regions = open_picture(pixels), Regions.from_masks(masks)
    print(f"{'+'.join(style.code for style in STYLES)}, {options.proposals} proposals, best of {options.rounds} rounds")
    for sizes in ([336], [336, 384]):
        ways: dict[str, Callable[[], list]] = {
            "released order": lambda sizes=sizes: released_order(pixels, masks, sizes),
            "parity": lambda sizes=sizes: ours(ParityRendering(OPTIONS), picture, regions, sizes),
            "direct": lambda sizes=sizes: ours(DirectRendering(OPTIONS), picture, regions, sizes),
        }
        pairs = zip(ways["released order"](), ways["parity"](), strict=True)
        difference = max(float(np.abs(np.asarray(a) - b).max()) for a, b in pairs)
        times = best(options.rounds, ways)
        for name, taken in times.items():
            share = taken / times["released order"]
            print(f"CLIP inputs {sizes}: {name:15} {taken * 1e3:8.1f} ms   {share:6.3f} of the released")
        print(f"CLIP inputs {sizes}: parity differs from the released order by at most {difference:.1e}")


if __name__ == "__main__":
    main()

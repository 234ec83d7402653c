"""Pictures per second of :class:`fovea.pasting.pictures.Pasting`, by one process: 224 pixels, three things, from files.

    python benchmarks/pasting_speed.py
    python benchmarks/pasting_speed.py --profile

Against two plain ways with Pillow, which open the same files and paste at the same places: one shrinks every cut-out
and pastes it, the other composes at the size of the cut-outs, a layer for each thing, and shrinks the result. Folders so large that hardly any
file is met twice are measured with a cache that keeps nothing, also after fovea data cutouts has shrunk them. The files
are made first: glyphs of 512 pixels with grain, and photographs' worth of noise of 1280 x 960. Ways take turns, so that
other work on the machine disturbs them alike; the best of the rounds counts, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fovea.pasting import sound_files
from fovea.pasting.cutting import CutLimits
from fovea.pasting.folders import folder_pasting
from fovea.pasting.glyphs import glyph_pasting
from fovea.pasting.grid import Cells, PasteSettings, lay_out
from fovea.pipelines.cutting import shrink_run
from fovea.scenes.backgrounds import background
from fovea.scenes.glyphs import pasted_glyphs, sprite
from fovea.scenes.render import WHOLE

SIZE, THINGS = 224, 3
SIDE, WIDTH, HEIGHT = 512, 1280, 960
# So many times larger than the picture is composed where cut-outs keep their size.
LARGER = 4


def make_files(directory: Path, categories: int, per_category: int, photographs: int) -> None:
    rng = np.random.default_rng(0)
    (directory / "back").mkdir()
    for number in range(photographs):
        pixels = background(number, WIDTH, WHOLE)[:HEIGHT].astype(np.int16) + rng.integers(-9, 10, (HEIGHT, WIDTH, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(directory / "back" / f"{number}.jpg", quality=90)
    for glyph in pasted_glyphs()[:categories]:
        folder = directory / "things" / glyph.name.replace(" ", "_")
        folder.mkdir(parents=True)
        for number in range(per_category):
            large = np.array(sprite(glyph)[0].resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGBA"))
            grain = rng.integers(-9, 10, (SIDE, SIDE, 1))
            large[..., :3] = (large[..., :3] + grain).clip(0, 255)
            Image.fromarray(large).save(folder / f"{number}.png", compress_level=3)


def opened(paths: list[Path], rng: np.random.Generator) -> list[Image.Image]:
    images = []
    for _ in range(THINGS):
        image = Image.open(paths[rng.integers(len(paths))]).convert("RGBA")
        images.append(image.crop(image.getchannel("A").getbbox()))
    return images


def corners(box: Cells, scale: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = (value * scale * SIZE // 16 for value in (box[0], box[1], box[2] + 1, box[3] + 1))
    return left, top, right, bottom


def shrink_and_paste(things: list[Path], photographs: list[Path], number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    images = opened(things, rng)
    boxes = lay_out(rng, [image.width / image.height for image in images], PasteSettings())
    canvas = Image.open(photographs[rng.integers(len(photographs))]).convert("RGB").resize((SIZE, SIZE))
    for image, box in zip(images, boxes, strict=True):
        left, top, right, bottom = corners(box, 1)
        small = image.resize((right - left, bottom - top))
        canvas.paste(small, (left, top), small)
    return np.asarray(canvas)


def compose_and_shrink(things: list[Path], photographs: list[Path], number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    images = opened(things, rng)
    boxes = lay_out(rng, [image.width / image.height for image in images], PasteSettings())
    side = SIZE * LARGER
    canvas = Image.open(photographs[rng.integers(len(photographs))]).convert("RGBA").resize((side, side))
    for image, box in zip(images, boxes, strict=True):
        left, top, right, bottom = corners(box, LARGER)
        layer = Image.new("RGBA", (side, side))
        layer.paste(image.resize((right - left, bottom - top)), (left, top))
        canvas = Image.alpha_composite(canvas, layer)
    return np.asarray(canvas.convert("RGB").resize((SIZE, SIZE)))


def many(way: Callable[[int], object], numbers: range) -> float:
    begun = time.process_time()
    for number in numbers:
        way(number)
    return (time.process_time() - begun) / len(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=30, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--profile", action="store_true", help="show where the time goes, with small files and none kept"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_files(directory, 40, 3, 20)
        shrink_run(directory / "things", directory / "small", CutLimits(longest=SIZE)).run()
        things, photographs = sorted(directory.glob("things/*/*.png")), sorted(directory.glob("back/*.jpg"))
        kept = folder_pasting(directory / "things", SIZE, backgrounds=directory / "back")
        # As with folders so large that hardly any file is met twice.
        sound_files._KEPT_BYTES = 0
        anew = folder_pasting(directory / "things", SIZE, backgrounds=directory / "back")
        small = folder_pasting(directory / "small", SIZE, backgrounds=directory / "back")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(many, partial(small.picture, counts=(THINGS, THINGS)), range(options.pictures))
            pstats.Stats(profile).sort_stats("tottime").print_stats(14)
            return
        glyphs = glyph_pasting(SIZE)
        ways: dict[str, Callable[[int], object]] = {
            "composed large, shrunk": partial(compose_and_shrink, things, photographs),
            "shrunk, pasted": partial(shrink_and_paste, things, photographs),
            "fovea, every file read anew": lambda number: anew.picture(number, (THINGS, THINGS)),
            "fovea, the same from cut-outs of 224 pixels": lambda number: small.picture(number, (THINGS, THINGS)),
            "fovea, files kept": lambda number: kept.picture(number, (THINGS, THINGS)),
            "fovea, glyphs and drawn backgrounds": lambda number: glyphs.picture(number, (THINGS, THINGS)),
        }
        times: dict[str, float] = {}
        for turn in range(options.rounds):
            # The same pictures in every round: from the second one on files can be kept.
            for way, work in ways.items():
                taken = many(work, range(options.pictures))
                times[way] = min(taken, times.get(way, taken)) if turn else taken
    large, plain = list(times.values())[:2]
    for way, taken in times.items():
        ratios = f"{large / taken:5.1f} x the first, {plain / taken:5.1f} x the second"
        print(f"{way:44} {1 / taken:7.1f} pictures/s   {ratios}")


if __name__ == "__main__":
    main()

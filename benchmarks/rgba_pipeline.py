"""How many pictures per second the grounding branch of ``fovea data rgba`` makes, against the released order of work.

    python benchmarks/rgba_pipeline.py
    python benchmarks/rgba_pipeline.py --sam base --pictures 2 --boxes 8 --rounds 1

The released program decodes one box at a time over the picture's embedding and walks over masks pixel by pixel in
Python; here the boxes of a picture are decoded together and masks stay arrays. Both see the same files and the same
SAM, in one run; they take turns, and the best of the rounds counts. The encoder is timed alone too: both need it once
per picture, and it bounds what can be gained.
"""

from __future__ import annotations

import argparse
import io
import json

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from timing import best
from transformers import SamConfig, SamModel

from fovea.backbones.sam import SamSegmenter, load_sam, picture_logits
from fovea.backbones.sources import PRESETS
from fovea.cache import FeatureCache
from fovea.datasets.grit import read_grounding
from fovea.datasets.region_texts import to_members
from fovea.datasets.shards import Sample
from fovea.networks.sam import Sam, SamNetworkConfig
from fovea.pictures import open_picture
from fovea.pipelines.grounding import describe_grounded
from fovea.pipelines.records import grounded
from fovea.regions import decode_masks, rle_from_json
from fovea.scenes.scene import compose

FIRST = 2_000_000


def segmenter_of(name: str) -> SamSegmenter:
    """The mini, or a SAM of the base size with random weights."""
    if name == "mini":
        return load_sam(PRESETS["mini"].sam)
    model = SamModel(SamConfig())
    network = Sam(SamNetworkConfig.from_hugging_face(model.config.to_dict()))
    state = model.state_dict()
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    return SamSegmenter(network, "base")


def sample_of(number: int, size: int, boxes: int) -> Sample:
    """A scene as a member pair in GRIT's form, with about as many boxes as asked for."""
    scene = compose(number, size)
    rng = np.random.default_rng(number)
    places = [list(thing.box) for thing in scene.things]
    while len(places) < boxes:
        left, top = rng.uniform(0, 0.7, 2)
        places.append([left, top, left + rng.uniform(0.1, 0.3), top + rng.uniform(0.1, 0.3)])
    caption = " ".join(f"thing{index}" for index in range(len(places[:boxes])))
    rows = [[7 * index, 7 * index + 6, *place, 1.0] for index, place in enumerate(places[:boxes])]
    stream = io.BytesIO()
    Image.fromarray(scene.pixels).save(stream, "JPEG", quality=90)
    record = json.dumps({"caption": caption, "ref_exps": rows}).encode()
    return Sample(str(number), {"jpg": stream.getvalue(), "json": record})


def released(sample: Sample, segmenter: SamSegmenter) -> list[dict]:
    """One box at a time, and one pixel at a time."""
    picture = open_picture(sample.members["jpg"])
    phrases = read_grounding(sample.members["json"], picture.size).phrases
    embedding = segmenter.embed(picture, FeatureCache(0))
    rles = []
    for phrase in phrases:
        (batch,) = segmenter.decode(embedding, picture.size, boxes=np.array([phrase.box], np.float32))
        (logits,) = picture_logits(batch.low_res[:, 0], picture.size, segmenter.image_size)
        found = (logits[0] > 0).numpy()
        plane = np.zeros((picture.height, picture.width), np.uint8)
        for y in range(picture.height):
            for x in range(picture.width):
                if found[y][x]:
                    plane[y][x] = 1
        rles.append(coco_mask.encode(np.asfortranarray(plane)))
    return rles


def vectorised(sample: Sample, segmenter: SamSegmenter) -> None:
    """One box at a time, masks as arrays: what decoding together gains by itself."""
    picture = open_picture(sample.members["jpg"])
    embedding = segmenter.embed(picture, FeatureCache(0))
    for phrase in read_grounding(sample.members["json"], picture.size).phrases:
        (batch,) = segmenter.decode(embedding, picture.size, boxes=np.array([phrase.box], np.float32))
        (logits,) = picture_logits(batch.low_res[:, 0], picture.size, segmenter.image_size)
        coco_mask.encode(np.asfortranarray((logits[0] > 0).numpy().astype(np.uint8)))


def ours(sample: Sample, segmenter: SamSegmenter) -> list[dict]:
    described, _ = describe_grounded("key", grounded(sample), segmenter)
    to_members(described)
    return [region.mask for region in described.regions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sam", choices=("mini", "base"), default="mini")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--boxes", type=int, default=6)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    segmenter = segmenter_of(options.sam)
    samples = [sample_of(FIRST + number, options.size, options.boxes) for number in range(options.pictures)]
    pictures = [open_picture(sample.members["jpg"]) for sample in samples]

    different = total = 0
    for sample in samples[:1]:
        planes = [decode_masks([rle])[0] for rle in released(sample, segmenter)]
        # Random weights may leave a mask empty, which ours reports and leaves out.
        planes = [plane for plane in planes if plane.any()]
        for plane, rle in zip(planes, ours(sample, segmenter), strict=True):
            different += int((plane != decode_masks([rle_from_json(rle)])[0]).sum())
            total += plane.size

    times = best(
        options.rounds,
        {
            "released order": lambda: [released(sample, segmenter) for sample in samples],
            "one by one, arrays": lambda: [vectorised(sample, segmenter) for sample in samples],
            "here": lambda: [ours(sample, segmenter) for sample in samples],
            "encoder alone": lambda: [segmenter.embed(picture, FeatureCache(0)) for picture in pictures],
        },
    )
    print(f"SAM {options.sam}, {options.pictures} pictures of {options.size} px with {options.boxes} boxes, one thread")
    for name, taken in times.items():
        rate = options.pictures / taken
        print(f"{name:20} {taken / options.pictures * 1e3:9.1f} ms each {rate:8.2f} pictures/s")
    print(f"ratio {times['released order'] / times['here']:.2f}; {different} of {total} pixels of masks differ")


if __name__ == "__main__":
    main()

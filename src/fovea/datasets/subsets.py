"""Parts of benchmarks that are reported on their own: expressions of position, names outside of COCO.

IteRPrimE reports both and defines neither in print (specs/iterprime.md, 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

#: A reading of "expression of position".
PositionTest = Literal["words", "released"]


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split(", "))


_RELEASED = _listed("left, right, up, down, top, bottom")
_WORDS = _listed(
    "left, right, top, bottom, upper, lower, middle, center, centre, central, leftmost, rightmost, topmost, "
    "bottommost, uppermost, lowermost"
)

#: The names of COCO's 80 categories.
COCO_NAMES = _listed(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)


def says_position_released(text: str) -> bool:
    """The released program's test: one of six words occurs anywhere, so "a cup on bright grass" says a position."""
    lowered = text.lower()
    return any(word in lowered for word in _RELEASED)


def says_position(text: str) -> bool:
    """Whether a word says where in the picture a thing is.

    Whole words only. "Up" and "down" are left out, since they mostly belong to verbs ("sitting down"), and so are
    places beside another thing ("behind the car").
    """
    return not _WORDS.isdisjoint(re.findall(r"[a-z]+", text.lower()))


#: Both readings by name.
POSITION_TESTS: Mapping[PositionTest, Callable[[str], bool]] = {
    "words": says_position,
    "released": says_position_released,
}


def is_unseen(name: str) -> bool:
    """Whether a category is none of COCO's: a comparison of strings, so that "man" is unseen, too."""
    return name not in COCO_NAMES

"""What mini-vlm is trained on: scenes with captions and simple questions, and never a word about places.

Among them are four numbers of every thing, how red, green and blue it is and how large: so it learns to read numbers
from a thing and to write them. Sources: specs/pin.md; docs/minis.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.language.box_text import article
from fovea.scenes.colours import word_of
from fovea.scenes.glyphs import frequent_glyphs
from fovea.scenes.layout import Layout, sample_layout
from fovea.scenes.render import Drawing, draw
from fovea.training.clip_scenes import NO_LABEL
from fovea.training.saying_vocabulary import build_saying_tokenizer

#: Names that mini-vlm learns, in the order of the label numbers.
NAMES: tuple[str, ...] = tuple(glyph.name for glyph in frequent_glyphs())
#: What the numbers run to.
STEPS = 16
#: Sentences about every picture, and the longest one in tokens.
SENTENCES, SENTENCE_LENGTH = 6, 26

# How often each kind of sentence is drawn; those that do not fit the thing give way to another.
_KINDS = {"numbers": 0.45, "colour": 0.15, "size": 0.1, "ground": 0.1, "there": 0.1, "count": 0.05, "pair": 0.05}
# Things that are painted in any colour.
_TINTED = 0.3
# Things of which less than this share of the picture can be seen are not spoken of.
_LEAST_VISIBLE = 0.006
# A thing owns a patch when it covers this share of it.
_COVER = 0.4


@dataclass(frozen=True)
class Said:
    """A sentence, and from where on it is to be learnt.

    Attributes:
        given: its beginning, which is only read.
        learnt: the rest, with the blank in front.
        meant: index of the thing that it speaks of; None where it is none, or not one alone.
        named: the sentence up to the end of the thing's name.
    """

    given: str
    learnt: str
    meant: int | None = None
    named: str = ""


@dataclass(frozen=True)
class Seen:
    """A thing that can be spoken of.

    Attributes:
        name: of it.
        colour: the word that surely describes it, or None.
        mean: how red, green and blue it is on average, each 0..``STEPS``.
        size: width and height in sixteenths of the picture's side.
    """

    name: str
    colour: str | None
    mean: tuple[int, int, int]
    size: tuple[int, int]


def _numbers(values: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, values))}]"


def say(rng: np.random.Generator, kind: str, things: list[Seen], ground: str) -> Said | None:
    """A sentence of a kind about one of the things.

    Args:
        rng: draws the thing.
        kind: one of ``numbers``, ``colour``, ``size``, ``ground``, ``there``, ``count``, ``pair``.
        things: that can be seen.
        ground: the colour word of the background.

    Returns:
        None where the kind does not fit the thing.
    """
    index = int(rng.integers(len(things)))
    thing = things[index]
    if kind == "count":
        return Said("The number of things in the image is", f" {len(things)}.")
    if kind == "there" and rng.random() < 0.5:
        asked = NAMES[rng.integers(len(NAMES))]
        if any(f" {other.name} " in f" {asked} " or f" {asked} " in f" {other.name} " for other in things):
            return None
        return Said(f"Is there {article(asked)} {asked} in the image?", " no.")
    if kind == "there":
        named = f"Is there {article(thing.name)} {thing.name}"
        return Said(f"{named} in the image?", " yes.", index, named)
    rest = _rest(rng, kind, thing, things, ground)
    if rest is None:
        return None
    given = f"In the image is {article(thing.name)}"
    return Said(given, f" {thing.name} {rest}.", None if kind == "pair" else index, f"{given} {thing.name}")


def _rest(rng: np.random.Generator, kind: str, thing: Seen, things: list[Seen], ground: str) -> str | None:
    """How a sentence goes on behind the name."""
    if kind == "numbers":
        return f"numbered {_numbers((*thing.mean, max(thing.size)))}"
    if kind == "colour":
        return thing.colour and f"coloured {thing.colour}"
    if kind == "size":
        return f"measuring {_numbers(thing.size)}"
    if kind == "ground":
        return f"and {article(ground)} {ground} wall"
    others = [other for other in things if other is not thing]
    if not others:
        return None
    other = others[rng.integers(len(others))]
    return f"and {article(other.name)} {other.name}"


class VlmScenes(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    A batch holds, for B pictures of side S with a grid of G x G patches, and K sentences of at most L tokens each:
        pixels: ``(B, S, S, 3)`` uint8.
        ids: ``(B, K, L)`` int64 token ids, 0 behind the end.
        learnt: ``(B, K, L)`` bool, tokens that the model is to say itself.
        place_names: ``(B, G * G)`` int64, label of the thing at every patch or ``NO_LABEL``.
        looking: ``(B, K, L)`` bool, tokens that speak of one thing, from the end of its name on.
        places: ``(B, K, G * G)`` bool, where that thing is; nowhere in sentences that speak of none.
    """

    def __init__(self, seed: int, steps: int, batch_size: int, size: int, grid: int) -> None:
        self.seed, self.steps, self.batch_size, self.size, self.grid = seed, steps, batch_size, size, grid
        self.glyphs = frequent_glyphs()
        self.tokenizer = build_saying_tokenizer()
        self._label = {name: label for label, name in enumerate(NAMES)}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        pictures = [self._picture(rng) for _ in range(self.batch_size)]
        return {key: np.stack([picture[key] for picture in pictures]) for key in pictures[0]}

    def _scene(self, rng: np.random.Generator) -> tuple[Layout, Drawing]:
        """A scene of one to five things, all of which can be seen."""
        while True:
            layout = sample_layout(rng, self.glyphs, focus_share=0.0, counts=(1, 5), repeat_share=0.0)
            painted = [
                replace(each, tint=_colour(rng)) if rng.random() < _TINTED else each for each in layout.placements
            ]
            layout = replace(layout, placements=tuple(painted))
            drawing = draw(layout, self.size)
            if drawing.masks.mean((1, 2)).min() > _LEAST_VISIBLE:
                return layout, drawing

    def _picture(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        layout, drawing = self._scene(rng)
        masks = drawing.masks
        things = [
            Seen(each.glyph.name, each.colour, _mean(drawing.pixels[mask]), _size(mask))
            for each, mask in zip(layout.placements, masks, strict=True)
        ]
        ground = word_of(*map(float, drawing.pixels[~masks.any(0)].mean(0)))
        labels = np.array([self._label[thing.name] for thing in things] + [NO_LABEL])
        owners = _owners(masks, self.grid)
        return {
            "pixels": drawing.pixels,
            "place_names": labels[owners],
            **self._sentences(rng, things, ground, owners),
        }

    def _sentences(
        self, rng: np.random.Generator, things: list[Seen], ground: str, owners: np.ndarray
    ) -> dict[str, np.ndarray]:
        ids = np.zeros((SENTENCES, SENTENCE_LENGTH), np.int64)
        learnt, looking = np.zeros((2, SENTENCES, SENTENCE_LENGTH), bool)
        places = np.zeros((SENTENCES, len(owners)), bool)
        row = 0
        while row < SENTENCES:
            said = say(rng, str(rng.choice(list(_KINDS), p=list(_KINDS.values()))), things, ground)
            if said is None:
                continue
            given, rest = (self.tokenizer(text)["input_ids"] for text in (said.given, said.learnt))
            whole = [*given, *rest, self.tokenizer.eos_token_id]
            if len(whole) > SENTENCE_LENGTH:
                continue
            ids[row, : len(whole)] = whole
            learnt[row, len(given) : len(whole)] = True
            if said.meant is not None:
                places[row] = owners == said.meant
                looking[row, len(self.tokenizer(said.named)["input_ids"]) - 1 : len(whole)] = places[row].any()
            row += 1
        return {"ids": ids, "learnt": learnt, "looking": looking, "places": places}


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = map(int, rng.integers(0, 256, 3))
    return red, green, blue


def _mean(pixels: np.ndarray) -> tuple[int, int, int]:
    """Of pixels ``(N, 3)`` uint8, each 0..``STEPS``."""
    red, green, blue = np.rint(pixels.mean(0) * STEPS / 255).astype(int).tolist()
    return red, green, blue


def _size(mask: np.ndarray) -> tuple[int, int]:
    """Width and height of what can be seen, in sixteenths of the side, at least one."""
    rows, columns = mask.any(1).sum(), mask.any(0).sum()
    width, height = (max(1, round(STEPS * int(length) / len(mask))) for length in (columns, rows))
    return width, height


def _owners(masks: np.ndarray, grid: int) -> np.ndarray:
    """``(G * G,)``: which thing every patch belongs to; -1 for none."""
    cell, count = masks.shape[1] // grid, len(masks)
    cover = masks.reshape(count, grid, cell, grid, cell).mean((2, 4)).reshape(count, -1)
    return np.where(cover.max(0) >= _COVER, cover.argmax(0), -1)

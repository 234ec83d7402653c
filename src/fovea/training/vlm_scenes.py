"""What mini-vlm is trained on: scenes with captions and simple questions, and never a word about places.

Random numbers lie on the places of many pictures, which no pixel shows (:mod:`fovea.training.vlm_numbers`); the least
or the greatest on a thing are asked for, in any words. So it learns to read numbers from a thing and to write them.
Sources: specs/pin.md; docs/minis.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.language.box_text import article
from fovea.scenes.colours import word_of
from fovea.scenes.glyphs import frequent_glyphs
from fovea.scenes.layout import Layout, Placement, sample_layout
from fovea.scenes.render import Drawing, draw
from fovea.training.clip_scenes import NO_LABEL
from fovea.training.saying_vocabulary import OTHER_WORDS, build_saying_tokenizer
from fovea.training.vlm_numbers import KINDS, draw_numbers, ends_of

#: Names that mini-vlm learns, in the order of the label numbers.
NAMES: tuple[str, ...] = tuple(glyph.name for glyph in frequent_glyphs())
#: Sentences about every picture, and the longest one in tokens.
SENTENCES, SENTENCE_LENGTH = 5, 21

# How often each kind of sentence is drawn; those that do not fit the thing give way to another.
_KINDS = {"numbers": 0.6, "colour": 0.16, "ground": 0.06, "there": 0.08, "count": 0.04, "pair": 0.06}
# Pictures that carry numbers.
_NUMBERED = 0.85
# Words of other meanings, at most, that stand between a name and its numbers.
_MOST_FILLERS = 3
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
        numbered: whether it tells the thing's numbers.
    """

    given: str
    learnt: str
    meant: int | None = None
    named: str = ""
    numbered: bool = False


@dataclass(frozen=True)
class Seen:
    """A thing that can be spoken of.

    Attributes:
        name: of it.
        colour: the word that surely describes it, or None.
        numbers: what is asked of those that lie on it, each 0..``STEPS``; None without any.
    """

    name: str
    colour: str | None
    numbers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Thing:
    """The same with its places.

    Attributes:
        seen: the thing.
        here: ``(P,)`` bool, its places.
        ends: ``(KINDS, P)`` bool, where each of its numbers lies.
    """

    seen: Seen
    here: np.ndarray
    ends: np.ndarray


def say(rng: np.random.Generator, kind: str, things: list[Seen], ground: str) -> Said | None:
    """A sentence of a kind about one of the things.

    Args:
        rng: draws the thing.
        kind: one of ``numbers``, ``colour``, ``ground``, ``there``, ``count``, ``pair``.
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
    given = f"In the image is {article(thing.name)}"
    named = f"{given} {thing.name}"
    if kind == "numbers":
        words = " ".join(rng.choice(OTHER_WORDS, rng.integers(1, _MOST_FILLERS + 1)))
        told = " ." if thing.numbers is None else f" [{','.join(map(str, thing.numbers))}]."
        return Said(f"{named} {words}", told, index, named, numbered=True)
    rest = _rest(rng, kind, thing, things, ground)
    if rest is None:
        return None
    return Said(given, f" {thing.name} {rest}.", None if kind == "pair" else index, named)


def _rest(rng: np.random.Generator, kind: str, thing: Seen, things: list[Seen], ground: str) -> str | None:
    """How a sentence goes on behind the name."""
    if kind == "colour":
        return thing.colour and f"coloured {thing.colour}"
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
        places: ``(B, K, L, G * G)`` bool, where that thing is; nowhere in sentences that speak of none.
        reads: likewise, but for tokens in front of a number's digits only where that number lies.
        numbers: ``(B, G * G, KINDS)`` int64, the numbers that lie on every patch; -1 in pictures without any.
    """

    def __init__(self, seed: int, steps: int, batch_size: int, size: int, grid: int) -> None:
        self.seed, self.steps, self.batch_size, self.size, self.grid = seed, steps, batch_size, size, grid
        self.glyphs = frequent_glyphs()
        self.tokenizer = build_saying_tokenizer()
        self._label = {name: label for label, name in enumerate(NAMES)}
        # No word is written otherwise beside others, and asking the tokenizer takes longer than drawing a thing.
        self._words: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        pictures = [self._picture(rng) for _ in range(self.batch_size)]
        return {key: np.stack([picture[key] for picture in pictures]) for key in pictures[0]}

    def _scene(self, rng: np.random.Generator) -> tuple[Layout, Drawing]:
        """A scene of one to four things, all of which can be seen."""
        while True:
            layout = sample_layout(rng, self.glyphs, focus_share=0.0, counts=(1, 4), repeat_share=0.0)
            drawing = draw(layout, self.size)
            if drawing.masks.mean((1, 2)).min() > _LEAST_VISIBLE:
                return layout, drawing

    def _picture(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        layout, drawing = self._scene(rng)
        masks = drawing.masks
        owners = _owners(masks, self.grid)
        numbers = draw_numbers(rng, owners) if rng.random() < _NUMBERED else np.full((len(owners), KINDS), -1)
        things = [_thing(each, owners == index, numbers) for index, each in enumerate(layout.placements)]
        ground = word_of(*map(float, drawing.pixels[~masks.any(0)].mean(0)))
        labels = np.array([self._label[thing.seen.name] for thing in things] + [NO_LABEL])
        return {
            "pixels": drawing.pixels,
            "place_names": labels[owners],
            "numbers": numbers,
            **self._sentences(rng, things, ground),
        }

    def _sentences(self, rng: np.random.Generator, things: list[Thing], ground: str) -> dict[str, np.ndarray]:
        seen, count = [thing.seen for thing in things], len(things[0].here)
        ids = np.zeros((SENTENCES, SENTENCE_LENGTH), np.int64)
        learnt, looking = np.zeros((2, SENTENCES, SENTENCE_LENGTH), bool)
        places, reads = np.zeros((2, SENTENCES, SENTENCE_LENGTH, count), bool)
        row = 0
        while row < SENTENCES:
            said = say(rng, str(rng.choice(list(_KINDS), p=list(_KINDS.values()))), seen, ground)
            if said is None:
                continue
            given, rest = self._ids(said.given), self._ids(said.learnt)
            whole = [*given, *rest, self.tokenizer.eos_token_id]
            if len(whole) > SENTENCE_LENGTH:
                continue
            ids[row, : len(whole)] = whole
            learnt[row, len(given) : len(whole)] = True
            if said.meant is not None:
                thing = things[said.meant]
                places[row] = reads[row] = thing.here
                looking[row, len(self._ids(said.named)) - 1 : len(whole)] = thing.here.any()
                if said.numbered:
                    self._read(whole, reads[row], thing.ends)
            row += 1
        return {"ids": ids, "learnt": learnt, "looking": looking, "places": places, "reads": reads}

    def _ids(self, text: str) -> list[int]:
        known = self._words
        for word in text.split():
            if word not in known:
                known[word] = self.tokenizer(f" {word}")["input_ids"]
        return [token for word in text.split() for token in known[word]]

    def _read(self, ids: list[int], reads: np.ndarray, ends: np.ndarray) -> None:
        """Let the tokens in front of each number's digits look where it lies."""
        slot = -1
        for index, token in enumerate(self.tokenizer.convert_ids_to_tokens(ids)):
            slot += token in ("▁[", ",")
            if token == "]":
                return
            if slot >= 0:
                reads[index] = ends[slot]


def _thing(placement: Placement, here: np.ndarray, numbers: np.ndarray) -> Thing:
    name, colour = placement.glyph.name, placement.colour
    if not here.any() or numbers.min() < 0:
        return Thing(Seen(name, colour), here, np.zeros((KINDS, len(here)), bool))
    ends, where = ends_of(numbers, here)
    return Thing(Seen(name, colour, ends), here, where)


def _owners(masks: np.ndarray, grid: int) -> np.ndarray:
    """``(G * G,)``: which thing every patch belongs to; -1 for none."""
    cell, count = masks.shape[1] // grid, len(masks)
    cover = masks.reshape(count, grid, cell, grid, cell).mean((2, 4)).reshape(count, -1)
    return np.where(cover.max(0) >= _COVER, cover.argmax(0), -1)

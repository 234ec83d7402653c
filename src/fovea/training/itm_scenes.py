"""What mini-itm is trained on: scenes with true and false statements, and where their words ought to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.language.pieces import PREFIX
from fovea.scenes.expressions import Thing, all_expressions, called, coloured
from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.layout import Layout, sample_layout
from fovea.scenes.render import WHOLE, Drawing, draw
from fovea.training.clip_scenes import COLOURS, NAMES, NO_LABEL
from fovea.training.vocabulary import build_matching_tokenizer

#: Longest statement in tokens, the class token included; what is longer is not used.
STATEMENT_LENGTH = 14
#: Statements about every picture; half of them are true.
STATEMENTS = 6

# A thing owns a patch when it covers this share of it.
_COVER = 0.4
# Things of which less than this share of the picture can be seen are not spoken of.
_LEAST_VISIBLE = 0.006
# A colour word tells less than a name: half of its attention stays with the picture as a whole.
_COLOUR_SHARE = 0.5
# How much the supervision of the class token, of colour words and of names counts.
_WEIGHTS = {"class": 0.3, "colour": 0.3, "name": 1.0}
_PREFIX_WORDS = PREFIX.format("").split()


@dataclass(frozen=True)
class Statement:
    """What is said of a picture.

    Attributes:
        text: an expression, as a user would type it.
        name: the words in it that name the thing.
        colour: the colour word in it, or None.
        meant: indices of the things it is true of; empty where it is false.
    """

    text: str
    name: str
    colour: str | None
    meant: tuple[int, ...]


def _phrase(rng: np.random.Generator, name: str, colour: str | None) -> str:
    """A noun phrase, mostly with its article."""
    article = ("the ", "the ", "a ", "")[rng.integers(4)]
    return f"{article}{colour} {name}" if colour else f"{article}{name}"


def _noun(text: str, things: list[Thing]) -> str:
    """What an expression calls its thing: a name, or "object"."""
    fitting = [thing.name for thing in things if f" {thing.name} " in f" {text} "]
    return max(fitting, key=len, default="object")


def _absent(rng: np.random.Generator, things: list[Thing]) -> str:
    """A name of nothing in the picture."""
    while True:
        name = NAMES[rng.integers(len(NAMES))]
        if not any(called(thing, name) or f" {name}".endswith(f" {thing.name}") for thing in things):
            return name


def true_statement(rng: np.random.Generator, things: list[Thing]) -> Statement:
    """Name, name and colour, or name and place of one of the things."""
    thing = things[rng.integers(len(things))]
    kind = rng.random()
    if kind < 0.3 and thing.colour:
        name = thing.name if rng.random() < 0.8 else "object"
        meant = tuple(i for i, t in enumerate(things) if called(t, name) and coloured(t, thing.colour))
        return Statement(_phrase(rng, name, thing.colour), name, thing.colour, meant)
    if kind > 0.85:
        placed = [e for e in all_expressions(things) if e.kind in ("place", "superlative")]
        if placed:
            chosen = placed[rng.integers(len(placed))]
            return Statement(chosen.text, _noun(chosen.text, things), None, (chosen.target,))
    meant = tuple(i for i, t in enumerate(things) if called(t, thing.name))
    return Statement(_phrase(rng, thing.name, None), thing.name, None, meant)


def false_statement(rng: np.random.Generator, things: list[Thing]) -> Statement:
    """A thing that is not there, or one that is there in another colour."""
    thing = things[rng.integers(len(things))]
    if rng.random() < 0.35:
        same = [t for t in things if called(t, thing.name)]
        wrong = [colour for colour in COLOURS if all(coloured(t, colour) is False for t in same)]
        if wrong:
            colour = wrong[rng.integers(len(wrong))]
            return Statement(_phrase(rng, thing.name, colour), thing.name, colour, ())
    name = _absent(rng, things)
    kind = rng.random()
    if kind < 0.3:
        # A colour that is there: it alone must not make the statement true.
        colour = thing.colour or COLOURS[rng.integers(len(COLOURS))]
        return Statement(_phrase(rng, name, colour), name, colour, ())
    placed = [e for e in all_expressions(things) if e.kind in ("place", "superlative")] if kind > 0.85 else []
    if placed:
        text = placed[rng.integers(len(placed))].text
        noun = _noun(text, things)
        return Statement(f" {text} ".replace(f" {noun} ", f" {name} ").strip(), name, None, ())
    return Statement(_phrase(rng, name, None), name, None, ())


def _cover(masks: np.ndarray, grid: int) -> np.ndarray:
    """Patches that belong to every thing: ``(N, G * G)`` bool, at least one each."""
    cell, count = masks.shape[1] // grid, len(masks)
    cover = masks.reshape(count, grid, cell, grid, cell).mean((2, 4)).reshape(count, -1)
    owned: np.ndarray = cover >= np.minimum(_COVER, cover.max(1, keepdims=True))
    return owned


class ItmScenes(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    A batch holds, for B pictures of side S with a grid of G x G patches and K statements of at most L tokens each:
        pixels: ``(B, S, S, 3)`` uint8.
        place_names, place_colours: ``(B, G * G)`` int64, label of the thing at every patch or ``NO_LABEL``.
        ids: ``(B, K, L)`` int64 token ids, the class token first, 0 behind the end.
        true: ``(B, K)`` int64, 1 where a statement is true.
        places: ``(B, K, L, G * G)`` bool, patches that a token ought to look at.
        share: ``(B, K, L)`` float32, 0..1: how much of its attention belongs there; the rest belongs to the picture's
            class token.
        weight: ``(B, K, L)`` float32, how much that counts; 0 for tokens that may look anywhere.
    """

    def __init__(self, seed: int, steps: int, batch_size: int, size: int, grid: int) -> None:
        self.seed, self.steps, self.batch_size, self.size, self.grid = seed, steps, batch_size, size, grid
        self.glyphs = glyphs_of("train")
        self.ids = build_matching_tokenizer().get_vocab()
        self._name_label = {name: label for label, name in enumerate(NAMES)}
        self._colour_label = {colour: label for label, colour in enumerate(COLOURS)}

    def __len__(self) -> int:
        return self.steps

    def _scene(self, rng: np.random.Generator) -> tuple[Layout, Drawing, np.ndarray]:
        """A scene, or as often a part of it, and indices of what can be seen in it."""
        while True:
            layout = sample_layout(rng, self.glyphs)
            side = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.6, 1.0))
            left, top = rng.random(2) * (1 - side)
            drawing = draw(layout, self.size, (float(left), float(top), side) if side < 1 else WHOLE)
            visible = np.flatnonzero(drawing.masks.mean((1, 2)) > _LEAST_VISIBLE)
            if len(visible):
                return layout, drawing, visible

    def _labels(self, things: list[Thing], owned: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
        """Names and colours of the things that own the patches."""
        names = np.array([self._name_label[thing.name] for thing in things] + [NO_LABEL])
        colours = np.array([self._colour_label.get(thing.colour or "", NO_LABEL) for thing in things] + [NO_LABEL])
        owner = np.where(owned.any(0), owned.argmax(0), -1)
        return {"place_names": names[owner], "place_colours": colours[owner]}

    def row(self, statement: Statement, things: list[Thing], owned: np.ndarray) -> dict[str, np.ndarray] | None:
        """Arrays of one statement, as in the batch but without its first two axes; None for one that is too long.

        Args:
            statement: about the things.
            things: that can be seen.
            owned: ``(N, G * G)`` bool, the patches of each.
        """
        words = [*_PREFIX_WORDS, *statement.text.split()]
        if len(words) >= STATEMENT_LENGTH:
            return None
        ids, share, weight = (np.zeros(STATEMENT_LENGTH, kind) for kind in (np.int64, np.float32, np.float32))
        places = np.zeros((STATEMENT_LENGTH, owned.shape[1]), bool)
        ids[: len(words) + 1] = [self.ids["[CLS]"], *(self.ids[word] for word in words)]
        meant = owned[list(statement.meant)].any(0)
        begin = len(_PREFIX_WORDS) + _find(statement.text.split(), statement.name.split()) + 1
        for tokens, kind in (([0], "class"), (range(begin, begin + len(statement.name.split())), "name")):
            share[tokens], weight[tokens] = bool(statement.meant), _WEIGHTS[kind]
            places[tokens] = meant
        if statement.colour:
            same = [i for i, thing in enumerate(things) if coloured(thing, statement.colour)]
            share[begin - 1], weight[begin - 1] = _COLOUR_SHARE if same else 0, _WEIGHTS["colour"]
            places[begin - 1] = owned[same].any(0)
        return {"ids": ids, "places": places, "share": share, "weight": weight}

    def _picture(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        layout, drawing, visible = self._scene(rng)
        masks = drawing.masks[visible]
        things = [
            Thing(layout.placements[i].glyph.name, layout.placements[i].colour, _bounds(mask))
            for i, mask in zip(visible, masks, strict=True)
        ]
        # What is hardly visible is neither there nor absent.
        hidden = {layout.placements[i].glyph.name for i in range(len(layout.placements)) if i not in visible}
        owned = _cover(masks, self.grid)
        rows: list[dict[str, np.ndarray]] = []
        true: list[int] = []
        while len(rows) < STATEMENTS:
            wanted = len(rows) % 2 == 0
            statement = (true_statement if wanted else false_statement)(rng, things)
            row = None if not wanted and statement.name in hidden else self.row(statement, things, owned)
            if row is not None:
                rows.append(row)
                true.append(int(wanted))
        stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        return {"pixels": drawing.pixels, "true": np.array(true), **self._labels(things, owned, masks), **stacked}

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        pictures = [self._picture(rng) for _ in range(self.batch_size)]
        return {key: np.stack([picture[key] for picture in pictures]) for key in pictures[0]}


def _find(words: list[str], wanted: list[str]) -> int:
    """Where some words begin in a sentence."""
    return next(start for start in range(len(words)) if words[start : start + len(wanted)] == wanted)


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Tight box of a mask in shares of its side."""
    ys, xs, side = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0)), mask.shape[0]
    return float(xs[0] / side), float(ys[0] / side), float((xs[-1] + 1) / side), float((ys[-1] + 1) / side)

"""What the CLIP minis are trained on: crops, marked pictures and plain scenes, with dense labels.

The mixture holds from the first step: a network that first sees only crops does not come to understand marks
(docs/minis.md). Dense labels say what stands at every place of the token grid; they teach names several times faster
than one label for the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from fovea.marks.coverage import ellipse_lines
from fovea.marks.effects import blend, blur
from fovea.scenes.colours import PAINTS
from fovea.scenes.expressions import Thing, all_expressions
from fovea.scenes.glyphs import Glyph, glyphs_of
from fovea.scenes.layout import Layout, sample_layout
from fovea.scenes.render import WHOLE, Drawing, Window, draw
from fovea.training.vocabulary import build_tokenizer

#: Names that the minis learn, in the order of the label numbers.
NAMES: tuple[str, ...] = tuple(glyph.name for glyph in glyphs_of("train"))
#: Colour words, in the order of the label numbers.
COLOURS: tuple[str, ...] = tuple(PAINTS)
#: Stands for "no label" in every label array.
NO_LABEL = -100

# Shares of crops, blurred surroundings, red ellipses and plain scenes.
_MIXTURE = {"crop": 0.3, "blur": 0.3, "ellipse": 0.18, "plain": 0.22}
# A thing owns a place of the token grid when it covers this share of it.
_COVER = 0.4


@dataclass
class _Sample:
    """One training picture.

    Attributes:
        pixels: ``(S, S, 3)`` uint8.
        masks: ``(N, S, S)`` bool, the visible part of every placement.
        subject: index of the thing that is meant, or None.
        alone: whether nothing but the subject can be recognised.
    """

    pixels: np.ndarray
    masks: np.ndarray
    subject: int | None
    alone: bool = False


def _box(mask: np.ndarray) -> np.ndarray:
    """Tight box of a mask: ``(4,)`` float64 xyxy pixels, right and bottom exclusive."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], float)


def _tight_crop(rng: np.random.Generator, drawing: Drawing, index: int, size: int) -> _Sample | None:
    """Cut the subject's box, a little off, and squash it to the square as the ``crop`` mark does."""
    if drawing.masks[index].sum() < 30:
        return None
    box = _box(drawing.masks[index])
    side = max(box[2] - box[0], box[3] - box[1])
    box += rng.uniform(-0.06, 0.06, 4) * side + np.array([-1, -1, 1, 1]) * 0.02 * side
    box = np.clip(box, 0, drawing.pixels.shape[0])
    pixels = np.asarray(Image.fromarray(drawing.pixels).resize((size, size), Image.Resampling.BICUBIC, tuple(box)))
    masks = np.stack(
        [
            np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST, tuple(box)))
            for mask in drawing.masks
        ]
    )
    return _Sample(pixels, masks, index)


def _crop(rng: np.random.Generator, layout: Layout, size: int) -> _Sample | None:
    """A close look at one thing: six in ten are tight, the others loose with neighbours in view."""
    index = int(rng.integers(len(layout.placements)))
    thing = layout.placements[index]
    if rng.random() < 0.6:
        side = 1.5 * thing.extent
        window = (thing.x - side / 2, thing.y - side / 2, side)
        return _tight_crop(rng, draw(layout, round(size * 1.3), window), index, size)
    side = thing.extent * rng.uniform(1.0, 2.5)
    shift_x, shift_y = rng.uniform(-0.5, 0.5, 2) * (side - 0.9 * thing.extent)
    drawing = draw(layout, size, (thing.x - side / 2 + shift_x, thing.y - side / 2 + shift_y, side))
    # Only the thing in the middle may be meant: with a neighbour as large as the subject nobody could tell.
    areas = drawing.masks.sum((1, 2))
    clear = areas[index] > 1.8 * np.delete(areas, index).max(initial=0)
    return _Sample(drawing.pixels, drawing.masks, index if clear else None)


def _window(rng: np.random.Generator) -> Window:
    """The whole scene, or as often a part of it, at least 55 percent as wide."""
    if rng.random() < 0.5:
        return WHOLE
    side = rng.uniform(0.55, 1.0)
    left, top = rng.random(2) * (1 - side)
    return (float(left), float(top), float(side))


def _visible(masks: np.ndarray) -> np.ndarray:
    """Indices of the things of which enough can be seen."""
    return np.flatnonzero(masks.sum((1, 2)) > 0.006 * masks[0].size)


def _subject(rng: np.random.Generator, masks: np.ndarray) -> int | None:
    """One thing of which enough can be seen."""
    visible = _visible(masks)
    return int(rng.choice(visible)) if len(visible) else None


def _rough(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Soft coverage of a mask that is sometimes a little too wide or too narrow, as a segmenter's masks are."""
    size = mask.shape[0]
    coverage = Image.fromarray(mask.astype(np.uint8) * 255)
    if rng.random() < 0.5:
        coverage = coverage.resize((size // 2, size // 2), Image.Resampling.BOX).resize((size, size))
        threshold = rng.choice([64, 128, 192])
        coverage = coverage.point(lambda value: 255 if value > threshold else 0)
    return np.asarray(coverage, np.float32)[None] / 255


def _blurred(rng: np.random.Generator, layout: Layout, size: int) -> _Sample | None:
    drawing = draw(layout, size, _window(rng))
    index = _subject(rng, drawing.masks)
    if index is None:
        return None
    blurred = blur(drawing.pixels, size * float(rng.choice([0.04, 0.1, 0.26])))
    pixels = blend(drawing.pixels, blurred, _rough(rng, drawing.masks[index]))[0]
    return _Sample(pixels, drawing.masks, index, alone=True)


def _ellipse(rng: np.random.Generator, layout: Layout, size: int) -> _Sample | None:
    drawing = draw(layout, size, _window(rng))
    index = _subject(rng, drawing.masks)
    if index is None:
        return None
    box = _box(drawing.masks[index]).astype(np.float32)
    box += rng.uniform(-0.05, 0.05, 4).astype(np.float32) * max(box[2] - box[0], box[3] - box[1])
    line = ellipse_lines(box[None], (size, size), float(rng.uniform(1.0, 2.2)))
    pixels = blend(np.array([255, 0, 0]), drawing.pixels, line)[0]
    return _Sample(pixels, drawing.masks, index)


def _plain(rng: np.random.Generator, layout: Layout, size: int) -> _Sample:
    drawing = draw(layout, size, _window(rng))
    # Under a shallow depth of field the sharp thing is what a caption would speak of, if the window shows it.
    sharp = layout.focus if layout.focus in _visible(drawing.masks) else None
    return _Sample(drawing.pixels, drawing.masks, sharp)


def _among_namesakes(layout: Layout, masks: np.ndarray, index: int) -> list[str]:
    """Phrases that tell a thing from all others of its name in the picture; for the only one, where it is."""
    meant = layout.placements[index].glyph
    named = [int(i) for i in _visible(masks) if layout.placements[i].glyph is meant]
    things = [Thing(meant.name, layout.placements[i].colour, tuple(_box(masks[i]) / len(masks[i]))) for i in named]
    fitting = [e for e in all_expressions(things) if named[e.target] == index]
    # The things are all of one name, so "the biggest object" among them is the biggest of that name.
    return [e.text.replace("object", meant.name) for e in fitting if len(named) > 1 or e.kind == "place"]


def _words(rng: np.random.Generator, layout: Layout, sample: _Sample) -> str:
    """A phrase for the subject: its name, often with something true in front of or behind it."""
    if sample.subject is None:
        return "a picture"
    thing = layout.placements[sample.subject]
    name = thing.glyph.name
    draw_ = rng.random()
    if draw_ < 0.4 and thing.colour:
        # The bare colour word teaches that colour counts when the name is not known.
        return f"the {thing.colour} {name}" if rng.random() < 0.7 else f"the {thing.colour} object"
    others = [other for other in layout.placements if other.glyph is not thing.glyph]
    if draw_ < 0.6 and others:
        # True of the scene is true of every window of it, even where the other thing is cut off.
        other = others[rng.integers(len(others))]
        across, down = thing.x - other.x, thing.y - other.y
        side = ("left of", "right of")[across > 0] if abs(across) > abs(down) else ("above", "below")[down > 0]
        return f"the {name} {side} the {other.glyph.name}"
    phrases = _among_namesakes(layout, sample.masks, sample.subject) if draw_ < 0.8 else []
    return phrases[rng.integers(len(phrases))] if phrases else f"the {name}"


# Names that the text tower says in one step.
_PICKED = 64
#: Sentences around a phrase, as often as they are used.
TEMPLATES = ("a photo of {}", "a photo of {}", "{}", "this is {}")


class ClipScenes(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    A batch holds, for B pictures of side S with a token grid of G x G places:
        pixels: ``(B, S, S, 3)`` uint8.
        names, colours: ``(B,)`` int64, label of the marked thing or ``NO_LABEL``.
        place_names, place_colours: ``(B, G * G)`` int64, label of the thing at every place or ``NO_LABEL``.
        phrases: ``(B, T)`` int64 token ids of a phrase for the marked thing.
        picked_names: ``(K,)`` int64, labels of some names.
        name_texts: ``(K, T')`` int64 token ids of these in this batch's template.
        colour_texts: ``(len(COLOURS), T'')`` likewise, of all colour words.
    """

    def __init__(self, seed: int, steps: int, batch_size: int, size: int, grid: int) -> None:
        self.seed, self.steps, self.batch_size, self.size, self.grid = seed, steps, batch_size, size, grid
        self.glyphs: tuple[Glyph, ...] = glyphs_of("train")
        self.tokenizer = build_tokenizer()
        self._name_label = {name: label for label, name in enumerate(NAMES)}
        self._colour_label = {colour: label for label, colour in enumerate(COLOURS)}

    def __len__(self) -> int:
        return self.steps

    def _draw(self, rng: np.random.Generator, layout: Layout) -> _Sample:
        kind = rng.choice(list(_MIXTURE), p=list(_MIXTURE.values()))
        sample: _Sample | None = None
        if kind == "crop":
            sample = _crop(rng, layout, self.size)
        elif kind == "blur":
            sample = _blurred(rng, layout, self.size)
        elif kind == "ellipse":
            sample = _ellipse(rng, layout, self.size)
        return sample or _plain(rng, layout, self.size)

    def _places(self, sample: _Sample) -> np.ndarray:
        """Which placement owns each place of the grid: ``(G * G,)`` int64, -1 for none."""
        cell, count = self.size // self.grid, len(sample.masks)
        cover = sample.masks.reshape(count, self.grid, cell, self.grid, cell).mean((2, 4)).reshape(count, -1)
        if sample.alone:
            cover[np.arange(count) != sample.subject] = 0
        return np.where(cover.max(0) > _COVER, cover.argmax(0), -1)

    def _tokens(self, texts: list[str]) -> np.ndarray:
        ids = self.tokenizer(texts, padding=True, truncation=True, return_tensors="np")["input_ids"]
        return np.asarray(ids, np.int64)

    def name_tokens(self, template: str) -> np.ndarray:
        """``(len(NAMES), T)`` int64 token ids of all names in a template."""
        return self._tokens([template.format(name) for name in NAMES])

    def colour_tokens(self, template: str) -> np.ndarray:
        """``(len(COLOURS), T)`` int64 token ids of all colour words in a template."""
        return self._tokens([template.format(colour) for colour in COLOURS])

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        batch: dict[str, list[Any]] = {
            key: [] for key in ("pixels", "names", "colours", "place_names", "place_colours")
        }
        phrases = []
        for _ in range(self.batch_size):
            layout = sample_layout(rng, self.glyphs)
            sample = self._draw(rng, layout)
            # One more row than placements, so that the owner -1 finds "no label".
            names = np.array([self._name_label[p.glyph.name] for p in layout.placements] + [NO_LABEL])
            colours = np.array(
                [self._colour_label.get(p.colour or "", NO_LABEL) for p in layout.placements] + [NO_LABEL]
            )
            owners = self._places(sample)
            batch["pixels"].append(sample.pixels)
            batch["place_names"].append(names[owners])
            batch["place_colours"].append(colours[owners])
            subject = -1 if sample.subject is None else sample.subject
            batch["names"].append(names[subject])
            batch["colours"].append(colours[subject])
            template = TEMPLATES[rng.integers(len(TEMPLATES))]
            phrases.append(template.format(_words(rng, layout, sample)))
        article = "the" if rng.random() < 0.8 else "a"
        template = TEMPLATES[rng.integers(len(TEMPLATES))]
        picked = rng.permutation(len(NAMES))[:_PICKED]
        return {
            **{key: np.stack(values) for key, values in batch.items()},
            "phrases": self._tokens(phrases),
            "picked_names": picked,
            "name_texts": self._tokens([template.format(f"{article} {NAMES[label]}") for label in picked]),
            "colour_texts": self.colour_tokens(template.format(article + " {} object")),
        }

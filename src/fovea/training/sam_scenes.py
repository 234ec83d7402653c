"""What mini-sam is trained on: scenes with boxes and points, and points that lie on nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from fovea.scenes.glyphs import all_glyphs
from fovea.scenes.layout import sample_layout
from fovea.scenes.render import WHOLE, Drawing, draw

#: Prompts per picture: boxes, points on things, points on the background.
BOXES, POINTS, NOWHERE = 3, 3, 1


def _visible(drawing: Drawing) -> np.ndarray:
    """Things of which more than a speck can be seen."""
    return np.flatnonzero(drawing.masks.sum((1, 2)) > 0.004 * drawing.masks[0].size)


def _box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """The mask's box: half of them exact, half drawn as carelessly as a detector or a person would."""
    ys, xs = np.nonzero(mask)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    slip = rng.choice([0.0, 0.03])
    return box + rng.normal(0, slip, 4) * max(box[2] - box[0], box[3] - box[1])


def _point(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    pick = rng.integers(len(xs))
    return np.array([xs[pick] + 0.5, ys[pick] + 0.5], np.float32)


class SamScenes(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone.

    A batch holds, for B pictures of side S:
        pixels: ``(B, S, S, 3)`` uint8; right and bottom may be padding.
        valid: ``(B, 2)`` int64, height and width that are picture.
        boxes: ``(B, BOXES, 4)`` float32 xyxy pixels, and box_masks ``(B, BOXES, S, S)`` bool.
        points: ``(B, POINTS + NOWHERE, 2)`` float32 xy pixels, the last ones on the background, and
            point_masks ``(B, POINTS + NOWHERE, S, S)`` bool, empty for those.
    """

    def __init__(self, seed: int, steps: int, batch_size: int, size: int) -> None:
        self.seed, self.steps, self.batch_size, self.size = seed, steps, batch_size, size
        # A segmenter needs no names; the unseen ones stay unseen all the same.
        self.glyphs = tuple(glyph for glyph in all_glyphs() if glyph.split != "unseen")

    def __len__(self) -> int:
        return self.steps

    def _picture(self, rng: np.random.Generator) -> tuple[Drawing, tuple[int, int]]:
        """A scene, sometimes cut to a landscape or portrait format."""
        while True:
            window = WHOLE
            if rng.random() < 0.3:
                side = rng.uniform(0.5, 1.0)
                left, top = rng.random(2) * (1 - side)
                window = (float(left), float(top), float(side))
            drawing = draw(sample_layout(rng, self.glyphs), self.size, window)
            height = width = self.size
            if rng.random() < 0.25:
                short = int(rng.uniform(0.55, 0.95) * self.size)
                height, width = (short, width) if rng.random() < 0.7 else (height, short)
                drawing.masks[:, height:] = False
                drawing.masks[:, :, width:] = False
            if len(_visible(drawing)):
                return drawing, (height, width)

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, step))
        rows: dict[str, list[np.ndarray]] = {}
        for _ in range(self.batch_size):
            drawing, (height, width) = self._picture(rng)
            visible = _visible(drawing)
            boxed, pointed = rng.choice(visible, BOXES), rng.choice(visible, POINTS)
            nothing = np.logical_not(drawing.masks.any(axis=0))
            nothing[height:] = False
            nothing[:, width:] = False
            if not nothing.any():
                nothing[0, 0] = True
            empty = np.zeros((NOWHERE, self.size, self.size), bool)
            row = {
                "pixels": drawing.pixels,
                "valid": np.array([height, width]),
                "boxes": np.stack([_box(rng, drawing.masks[i]) for i in boxed]).astype(np.float32),
                "box_masks": drawing.masks[boxed],
                "points": np.stack(
                    [_point(rng, drawing.masks[i]) for i in pointed] + [_point(rng, nothing) for _ in range(NOWHERE)]
                ),
                "point_masks": np.concatenate([drawing.masks[pointed], empty]),
            }
            for key, value in row.items():
                rows.setdefault(key, []).append(value)
        return {key: np.stack(values) for key, values in rows.items()}

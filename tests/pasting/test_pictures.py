"""Pasted pictures: what is said to be somewhere is there."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from fovea.errors import DataError
from fovea.pasting.glyphs import glyph_pasting
from fovea.pasting.grid import PasteSettings
from fovea.pasting.pictures import Pasting
from fovea.pasting.referral import Referral
from fovea.scenes.glyphs import pasted_glyphs

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
GRAY = 100


@dataclass(frozen=True)
class Plates:
    """Rectangles of one colour, whose category is its name; those that are broken cannot be read."""

    alpha: int = 255
    broken: tuple[str, ...] = ()
    key = "plates"

    @property
    def names(self) -> Sequence[str]:
        return tuple(COLOURS)

    def draw(self, category: int, rng: np.random.Generator) -> Image.Image | None:
        name = self.names[category]
        size = (int(rng.integers(3, 90)), int(rng.integers(3, 90)))
        return None if name in self.broken else Image.new("RGBA", size, (*COLOURS[name], self.alpha)).convert("RGBa")


class Gray:
    key = "gray"

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.full((size, size, 3), GRAY, np.uint8)


@pytest.mark.parametrize(("size", "cells"), [(224, 16), (100, 16), (26, 26)])
def test_things_fill_their_cells_and_later_ones_cover_earlier_ones(size: int, cells: int) -> None:
    pasting = Pasting(Plates(), Gray(), size, PasteSettings(cells))
    for number in range(12):
        pasted = pasting.picture(number, (1, 4))
        wanted = np.full((size, size, 3), GRAY, np.uint8)
        for name, (left, top, right, bottom) in zip(pasted.names, pasted.cells, strict=True):
            rows, columns = (
                slice(round(low * size / cells), round((high + 1) * size / cells))
                for low, high in ((top, bottom), (left, right))
            )
            wanted[rows, columns] = COLOURS[name]
        np.testing.assert_array_equal(pasted.pixels, wanted)


def test_half_transparent_things_let_half_of_the_background_through() -> None:
    pasted = Pasting(Plates(alpha=128), Gray(), 64).picture(0, (1, 1))
    left, top, right, bottom = pasted.cells[0]
    inside = pasted.pixels[top * 4 : bottom * 4 + 4, left * 4 : right * 4 + 4].reshape(-1, 3).astype(int)
    assert np.abs(inside - (np.array(COLOURS[pasted.names[0]]) + GRAY) / 2).max() <= 2


def test_a_picture_depends_on_its_number_and_the_seed_alone() -> None:
    first, second, other = (glyph_pasting(64, seed=seed) for seed in (3, 3, 4))
    second.picture(9, (1, 3))
    second = pickle.loads(pickle.dumps(second))
    one, same, unlike, next_one = (
        made.picture(number, (3, 3)) for made, number in ((first, 5), (second, 5), (other, 5), (first, 6))
    )
    np.testing.assert_array_equal(one.pixels, same.pixels)
    assert (one.names, one.cells) == (same.names, same.cells)
    assert one.names != unlike.names
    assert one.names != next_one.names


def test_counts_are_equally_likely_and_names_differ() -> None:
    pasting = Pasting(Plates(), Gray(), 16)
    made = [pasting.picture(number, (1, 3)) for number in range(300)]
    counts = Counter(len(pasted.names) for pasted in made)
    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > 70
    assert all(len({*pasted.names}) == len(pasted.names) for pasted in made)
    assert min(Counter(name for pasted in made for name in pasted.names).values()) > 100
    # Where there are more things than names, names come again.
    assert len(pasting.picture(0, (6, 6)).names) == 6


def test_categories_that_cannot_be_read_are_left_out() -> None:
    pasting = Pasting(Plates(broken=("red", "blue")), Gray(), 16)
    assert {name for number in range(40) for name in pasting.picture(number, (1, 3)).names} == {"green", "white"}
    with pytest.raises(DataError, match="no cut-out"):
        Pasting(Plates(broken=tuple(COLOURS)), Gray(), 16).picture(0, (1, 3))


def test_referral_repeats_categories_and_keeps_their_names_apart() -> None:
    pasting = Pasting(Plates(), Gray(), 16, referral=Referral(repeat=0.5, place=0.0))
    made = [pasting.picture(number, (2, 2)) for number in range(200)]
    repeated = [pasted for pasted in made if len({*pasted.categories}) == 1]
    assert 70 < len(repeated) < 130
    assert all(not {*pasted.names} & {*pasted.categories} for pasted in repeated)
    assert all(pasted.names == pasted.categories for pasted in made if pasted not in repeated)


def test_more_cells_than_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="16 x 16 cells"):
        glyph_pasting(15)


def test_a_grid_of_one_cell_is_refused() -> None:
    with pytest.raises(DataError, match="one cell"):
        PasteSettings(1)


def test_held_out_glyphs_are_never_pasted() -> None:
    shown, kept = (glyph_pasting(32, held_out=held_out).cut_outs.names for held_out in (False, True))
    assert not {*shown} & {*kept}
    assert len(shown) + len(kept) == len(pasted_glyphs()) + len(pasted_glyphs(True))


def test_glyphs_are_cropped() -> None:
    cut_outs, rng = glyph_pasting(32).cut_outs, np.random.default_rng(0)
    for category in range(0, len(cut_outs.names), 9):
        alpha = np.asarray(cut_outs.draw(category, rng))[..., 3]
        assert min(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) > 0

"""Masks of large pictures: however few are decoded at a time, the answers are the same."""

from __future__ import annotations

import numpy as np
import pytest

import fovea.regions
from fovea.grounder import Grounder
from fovea.pictures import open_picture
from fovea.recipes import load
from fovea.regions import Regions, Rle
from fovea.scenes.scene import compose
from fovea.scorers.tas import mask_centres, square_crops

SCENE = compose(1_700_001)
PICTURE = open_picture(SCENE.pixels)
REGIONS = Regions.from_masks(SCENE.masks, boxes=SCENE.boxes)
TEXTS = ["the dog", "the red car"]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many masks were decoded together, again and again; only one is allowed from now on."""
    counts: list[int] = []
    real = fovea.regions.decode_masks

    def count(rles: list[Rle]) -> np.ndarray:
        counts.append(len(rles))
        return real(rles)

    monkeypatch.setattr(fovea.regions, "decode_masks", count)
    monkeypatch.setattr(fovea.regions, "_PIXELS_AT_ONCE", 1)
    return counts


def explained(grounder: Grounder) -> list[np.ndarray]:
    found = grounder.explain(PICTURE, TEXTS, regions=REGIONS)
    shown = [evidence.pictures for evidence in found.evidence]
    return [found.matrix.values, *shown, *(step.picture for trace in found.traces for step in trace.steps)]


@pytest.mark.parametrize("recipe", ["iterprime", "car", "gl-clip", "D4+ov_seg"])
def test_scores_and_explanations_do_not_depend_on_it(
    recipe: str, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    grounder = load(recipe, "mini-vit", device="cpu")
    with monkeypatch.context() as usual:
        usual.setattr(fovea.regions, "_PIXELS_AT_ONCE", 1 << 26)
        expected = explained(grounder)
    assert max(decoded) > 1
    decoded.clear()
    found = explained(Grounder(grounder.recipe, grounder.models, grounder.scorer, grounder.finder))
    assert set(decoded) == {1}
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_crops_and_chunks_are_read_one_by_one(decoded: list[int]) -> None:
    crops = square_crops(PICTURE, REGIONS, 32)
    centres = np.concatenate([mask_centres(masks) for masks in REGIONS.mask_chunks()])
    np.testing.assert_array_equal(np.stack(list(REGIONS.each_mask())), SCENE.masks)
    assert set(decoded) == {1}
    assert crops.shape == (len(REGIONS), 32, 32, 3)
    np.testing.assert_allclose(centres, mask_centres(SCENE.masks))
    assert list(REGIONS.select([]).mask_chunks()) == []

"""Ranking of regions and names, against what the reference implementation kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from fovea.evaluation.region_ranking import RANKINGS, Ranking, rank

RECORDED = load_file(Path(__file__).parents[1] / "golden" / "regionspot" / "infer_io.safetensors")
#: Width and height of the working frame and of the picture, as recorded.
SIZES = {"small": ((28, 20), (35, 25)), "large": ((8, 6), (12, 9))}
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4)).astype(np.float32)
BOXES = np.array([[i, i, i + 2, i + 3] for i in range(5)], np.float32)
SCORES = np.array([0.9, 0.2, 0.6, 0.5, 1.0], np.float32)


def clipped(boxes: np.ndarray, found_in: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Boxes in pixels of the working frame as boxes in the picture, cut to it."""
    frame = np.tile(np.array(size, np.float32), 2)
    scale = frame / np.tile(np.array(found_in, np.float32), 2)
    return np.clip(boxes.astype(np.float32) * scale, 0, frame)


@pytest.mark.parametrize(("case", "image"), [("small", 0), ("small", 1), ("large", 0)])
@pytest.mark.parametrize("mode", ["gt", "det"])
def test_detections_are_the_recorded_ones(case: str, image: int, mode: str) -> None:
    working, size = SIZES[case]
    inputs = {name: RECORDED[f"{case}.in.{name}"][image] for name in ("logits", "boxes", "masks", "box_scores")}
    recorded = {
        name: RECORDED[f"{case}.{mode}.{image}.final_{name}"] for name in ("scores", "classes", "boxes", "mask_area")
    }
    boxes = clipped(inputs["boxes"], working, size)
    found = rank(inputs["logits"], boxes, inputs["box_scores"] if mode == "det" else None)
    assert len(found.scores) == len(recorded["scores"])
    np.testing.assert_allclose(found.scores, recorded["scores"], atol=1e-6)
    np.testing.assert_array_equal(found.labels, recorded["classes"])
    np.testing.assert_allclose(boxes[found.regions], recorded["boxes"], atol=1e-4)
    # Masks stay with their regions: brought to the picture's size once, they are those that were copied for every pair.
    masks = F.interpolate(torch.from_numpy(inputs["masks"]).float(), (size[1], size[0]), mode="nearest")
    areas = masks.sum((1, 2, 3)).numpy()
    np.testing.assert_array_equal(areas[found.regions], recorded["mask_area"])


def pairs(ranking: Ranking, scores: np.ndarray | None = None) -> list[tuple[int, int]]:
    found = rank(LOGITS, BOXES, scores, ranking)
    return list(zip(found.regions.tolist(), found.labels.tolist(), strict=True))


def test_a_late_score_cannot_bring_back_what_was_cut() -> None:
    late, early = Ranking(top=6), Ranking(top=6, fused="before")
    assert pairs(late, SCORES) == pairs(late)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True) * SCORES[:, None]
    order = np.argsort(-shares, axis=None)[:6]
    assert pairs(early, SCORES) == [divmod(int(pair), 4) for pair in order]
    geometric = rank(LOGITS, BOXES, SCORES, Ranking(top=6, fused="before", fusion="geometric"))
    np.testing.assert_allclose(geometric.scores**2, shares.ravel()[order], rtol=1e-5)


def test_one_label_for_every_region() -> None:
    found = rank(LOGITS, BOXES, ranking=RANKINGS["single-label"])
    assert sorted(found.regions.tolist()) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.labels, LOGITS.argmax(1)[found.regions])
    assert (np.diff(found.scores) <= 0).all()


def test_sigmoid_scores_pairs_on_their_own() -> None:
    found = rank(LOGITS, BOXES, ranking=Ranking(shares="sigmoid"))
    np.testing.assert_allclose(found.scores, np.sort(1 / (1 + np.exp(-LOGITS)), axis=None)[::-1], rtol=1e-5)


def test_what_is_not_finite_is_no_pair() -> None:
    logits = np.array([[1.0, 2.0, 0.0], [3.0, 3.0, 1.0], [np.nan, -np.inf, np.nan]])
    boxes = np.tile(np.array([0.0, 0, 4, 4]), (3, 1))
    found = rank(logits, boxes, ranking=RANKINGS["single-label"])
    assert (found.regions.tolist(), found.labels.tolist()) == ([0, 1], [1, 0])
    assert len(rank(logits, boxes).regions) == 6


def test_nothing_to_rank() -> None:
    for regions, names in ((0, 4), (5, 0)):
        for ranking in RANKINGS.values():
            found = rank(LOGITS[:regions, :names], BOXES[:regions], ranking=ranking)
            assert len(found.regions) == len(found.labels) == len(found.scores) == 0


def test_boxes_without_area_are_dropped_behind_the_cut() -> None:
    flat = BOXES.copy()
    flat[0, 2] = flat[0, 0]
    kept = rank(LOGITS, flat, ranking=Ranking(top=6)).regions.tolist()
    assert kept == [region for region, _ in pairs(Ranking(top=6)) if region != 0]

"""Regions: checked on the way in, exact round trips, overlaps against a slow obvious count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fovea.errors import RegionError
from fovea.regions import (
    Regions,
    box_iou,
    decode_masks,
    encode_masks,
    mask_bounds,
    mask_iou,
    rle_from_json,
    rle_to_json,
)

MASKS = arrays(bool, st.tuples(st.integers(1, 4), st.just(7), st.just(9)))


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_masks_survive_encoding(masks: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_masks(encode_masks(masks)), masks)
    for rle in encode_masks(masks):
        assert rle_from_json(json.loads(json.dumps(rle_to_json(rle)))) == rle


@settings(max_examples=60, deadline=None)
@given(MASKS, MASKS)
def test_mask_overlaps_are_what_counting_gives(first: np.ndarray, second: np.ndarray) -> None:
    expected = [[(a & b).sum() / (a | b).sum() if (a | b).any() else 0.0 for b in second] for a in first]
    np.testing.assert_allclose(mask_iou(encode_masks(first), encode_masks(second)), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, (5, 4), elements=st.integers(0, 12)))
def test_box_overlaps_are_what_painting_gives(raw: np.ndarray) -> None:
    boxes = np.stack([raw[:, :2].min(1), raw[:, 2:].min(1), raw[:, :2].max(1), raw[:, 2:].max(1)], axis=1)
    painted = np.zeros((5, 12, 12), bool)
    for plane, (x1, y1, x2, y2) in zip(painted, boxes, strict=True):
        plane[y1:y2, x1:x2] = True
    expected = [[(a & b).sum() / max(1, (a | b).sum()) for b in painted] for a in painted]
    np.testing.assert_allclose(box_iou(boxes, boxes), expected, atol=1e-6)


def test_json_round_trip_is_exact() -> None:
    masks = np.zeros((2, 10, 20), bool)
    masks[0, 2:5, 3:9] = masks[1, 7, 1] = True
    regions = Regions.from_masks(masks, source="sam-grid", scores=np.array([0.25, 0.1], np.float32))
    again = Regions.from_json(json.loads(json.dumps(regions.to_json())))
    assert again.key == regions.key
    assert (again.size, again.source) == ((20, 10), "sam-grid")
    np.testing.assert_array_equal(again.boxes, [[3, 2, 9, 5], [1, 7, 2, 8]])
    np.testing.assert_array_equal(again.dense_masks(), masks)
    np.testing.assert_array_equal(again.scores, regions.scores)


def test_supervision_round_trip() -> None:
    pytest.importorskip("supervision")
    masks = np.zeros((1, 10, 20), bool)
    masks[0, 2:5, 3:9] = True
    regions = Regions.from_masks(masks, source="given", scores=np.array([0.5]))
    again = Regions.from_supervision(regions.to_supervision(), (20, 10))
    assert again.key == regions.key
    assert again.source == "given"
    assert len(Regions.from_supervision(Regions.empty((20, 10)).to_supervision(), (20, 10))) == 0


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 2, 3]], "not \\(N, 4\\)"),
        ([[1, 2, float("nan"), 4]], "box 0 holds a value that is not a number"),
        ([[1, 2, 3, 4], [5, 5, 5, 9]], "box 1 has no area"),
        ([[9, 9, 3, 3]], "no area"),
        ([[30, 1, 40, 5]], "outside of the picture"),
        ([[-9, 1, -1, 5]], "outside of the picture"),
        ([["a", 1, 2, 3]], "four numbers"),
        ([[1, 2, 3, 4], [1, 2]], "four numbers"),
    ],
)
def test_boxes_that_make_no_sense(boxes: list, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        Regions.from_boxes(boxes, (20, 10))


def test_boxes_are_cut_to_the_picture() -> None:
    regions = Regions.from_boxes([[-3, -3, 50, 50]], (20, 10))
    np.testing.assert_array_equal(regions.boxes, [[0, 0, 20, 10]])
    assert regions.areas.tolist() == [200.0]
    assert len(Regions.from_boxes([], (20, 10))) == 0


def test_regions_cannot_be_changed() -> None:
    source = np.array([[1, 1, 5, 5]], np.float32)
    regions = Regions.from_boxes(source, (20, 10))
    source[:] = 0
    assert regions.boxes.tolist() == [[1, 1, 5, 5]]
    with pytest.raises(ValueError, match="read-only"):
        regions.boxes[0, 0] = 3


def test_masks_of_another_size_are_refused() -> None:
    rles = encode_masks(np.ones((1, 4, 4), bool))
    with pytest.raises(RegionError, match="4 x 4 pixels"):
        Regions(np.zeros((1, 4)), (20, 10), masks=rles)
    with pytest.raises(RegionError, match="2 boxes but 1 masks"):
        Regions(np.zeros((2, 4)), (4, 4), masks=rles)
    with pytest.raises(RegionError, match="is empty"):
        Regions.from_masks(np.zeros((1, 4, 4), bool))
    with pytest.raises(RegionError, match="boxes but no masks"):
        Regions.from_boxes([[0, 0, 1, 1]], (4, 4)).dense_masks()


def test_select_keeps_rows_together() -> None:
    masks = np.eye(3, dtype=bool)[:, None].repeat(2, 1)
    regions = Regions.from_masks(masks, scores=np.arange(3.0)).select([2, 0])
    np.testing.assert_array_equal(regions.dense_masks(), masks[[2, 0]])
    assert regions.scores is not None
    assert regions.scores.tolist() == [2.0, 0.0]
    np.testing.assert_array_equal(regions.boxes, mask_bounds(masks[[2, 0]]))
    assert len(regions.select([])) == 0


@pytest.mark.parametrize("chosen", [[False, True, False], np.array([False, True, False])])
def test_select_takes_one_boolean_per_region(chosen: object) -> None:
    regions = Regions.from_boxes([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], (4, 4))
    assert regions.select(chosen).boxes.tolist() == [[0, 0, 2, 2]]  # type: ignore[arg-type]


@pytest.mark.parametrize("chosen", [[True, False], [0.0, 1.0], np.zeros((1, 1), int), ["a"]])
def test_what_cannot_select(chosen: object) -> None:
    regions = Regions.from_boxes([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], (4, 4))
    with pytest.raises(RegionError, match="cannot be selected"):
        regions.select(chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_masks_may_be_two_integers(top: int, kind: type) -> None:
    plane = np.eye(4, dtype=bool)[None]
    np.testing.assert_array_equal(Regions.from_masks(plane.astype(kind) * top).dense_masks(), plane)


@pytest.mark.parametrize("plane", [[[-5.0, 3.0]], [[0.0, 1.0]], [[0, 7]], [[-1, 1]], [[0, 1, 255]], [["a", "b"]]])
def test_soft_masks_and_logits_are_refused(plane: list) -> None:
    with pytest.raises(RegionError, match="more than two values"):
        Regions.from_masks(np.array([plane]))
    with pytest.raises(RegionError, match="one size"):
        Regions.from_masks([np.ones((2, 2)), np.ones((3, 3))])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"size": [1, 2]},
        {"size": "ab", "counts": "x"},
        {"size": [0, 2], "counts": [0]},
        # Runs that leave pixels out, that are too many, or that only seem to fit.
        {"size": [4, 4], "counts": [3]},
        {"size": [4, 4], "counts": []},
        {"size": [4, 4], "counts": [17]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": [2**32 + 16]},
        {"size": [4, 4], "counts": [16.0]},
        {"size": [4, 4], "counts": [[16]]},
        {"size": [4, 4], "counts": [10**400]},
        {"size": [10**400, 4], "counts": [16]},
        {"size": [float("inf"), 4], "counts": [16]},
        {"size": [4, 4], "counts": "3"},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": "P"},
        {"size": [4, 4], "counts": "PPPPPPPPPPPP0"},
        {"size": [4, 4], "counts": "\x00"},
        {"size": [4, 4], "counts": "ü"},
        {"size": [2**20, 2**20], "counts": [2**40]},
    ],
)
def test_broken_masks_are_one_clear_error(data: dict) -> None:
    with pytest.raises(RegionError, match="run-length"):
        rle_from_json(data)


def test_masks_of_any_claimed_size_are_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Decoded, each of these would be 200 million pixels.
    monkeypatch.delattr("fovea.regions.coco_mask.decode")
    counts = [5, 10**7, 3, 7, 20_000 * 10_000 - 10**7 - 15]
    for counted in (counts, rle_to_json(rle_from_json({"size": [20_000, 10_000], "counts": counts}))["counts"]):
        document = {"size": [30, 20], "source": "x", "boxes": [[0, 0, 1, 1]]}
        document["masks"] = [{"size": [20_000, 10_000], "counts": counted}]
        with pytest.raises(RegionError, match="10000 x 20000 pixels, the picture 30 x 20"):
            Regions.from_json(document)


@pytest.mark.parametrize(
    "part",
    [
        {"boxes": [[10**400, 0, 1, 1]]},
        {"size": [float("inf"), 4]},
        {"masks": 5},
        {"scores": "high"},
        {"boxes": json.loads("[" * 200 + "]" * 200)},
    ],
)
def test_broken_documents_are_one_clear_error(part: dict) -> None:
    with pytest.raises(RegionError) as caught:
        Regions.from_json({"size": [4, 4], "source": "x", "boxes": [[0, 0, 1, 1]], **part})
    assert "\n" not in str(caught.value)


def test_uncompressed_masks_are_read() -> None:
    rle = rle_from_json({"size": [2, 3], "counts": [1, 2, 3]})
    np.testing.assert_array_equal(decode_masks([rle])[0], [[False, True, False], [True, False, False]])

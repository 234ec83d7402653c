"""Boxes, points and grids through a tiny SAM with random weights: batches, caches, and nothing as an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from fovea.backbones.sam import SamSegmenter
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.networks.sam import Sam
from fovea.pictures import Picture, open_picture
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.mask_filter import MaskFilter
from fovea.proposers.sam_grid import SamGrid
from fovea.proposers.sam_prompts import add_masks, regions_at
from fovea.regions import Regions, mask_bounds

POINTS = np.array([[5, 5], [35.5, 20], [69.9, 49.9], [0, 0]], np.float32)

# Random weights are sure of nothing.
EASY = GridSettings(points_per_side=4, min_iou=-100.0, min_stability=0.0, max_overlap=0.95)


@pytest.fixture
def segmenter(tiny_sam: Callable[[], Sam]) -> SamSegmenter:
    return SamSegmenter(tiny_sam(), "tiny")


@pytest.fixture(scope="module")
def picture() -> Picture:
    return open_picture(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def boxes(picture: Picture) -> Regions:
    rows = [[3, 4, 30, 30], [10, 5, 60, 45], [0, 0, 70, 50], [40, 20, 50, 30], [1, 40, 20, 49]]
    return Regions.from_boxes(rows, picture.size, "detector")


def same(first: Regions, second: Regions) -> bool:
    return first.key == second.key and len(first) > 0


def test_boxes_keep_their_place_and_say_who_drew_the_masks(
    segmenter: SamSegmenter, picture: Picture, boxes: Regions
) -> None:
    found = add_masks(picture, boxes, segmenter, FeatureCache())
    assert found.source == "detector+sam-masks"
    np.testing.assert_array_equal(found.boxes, boxes.boxes)
    assert 0 < found.dense_masks().mean() < 1


def test_a_box_gets_the_mask_it_gets_alone(segmenter: SamSegmenter, picture: Picture, boxes: Regions) -> None:
    cache = FeatureCache()
    together = add_masks(picture, boxes, segmenter, cache).dense_masks()
    backwards = add_masks(picture, boxes.select(range(4, -1, -1)), segmenter, cache).dense_masks()[::-1]
    for row in range(len(boxes)):
        alone = add_masks(picture, boxes.select([row]), segmenter, cache).dense_masks()[0]
        # Float32 noise may turn a pixel on the very edge.
        assert (alone != together[row]).mean() < 1e-3
        assert (backwards[row] != together[row]).mean() < 1e-3


def test_the_filter_mends_masks_from_boxes(segmenter: SamSegmenter, picture: Picture, boxes: Regions) -> None:
    cache, mender = FeatureCache(), MaskFilter(fill_holes_below=30, drop_islands_below=30)
    plain = add_masks(picture, boxes, segmenter, cache).dense_masks()
    mended = add_masks(picture, boxes, segmenter, cache, mask_filter=mender).dense_masks()
    np.testing.assert_array_equal(mended, [mender.mend(mask)[0] for mask in plain])
    assert (mended != plain).any()


def test_no_boxes_and_no_points(segmenter: SamSegmenter, picture: Picture) -> None:
    cache = FeatureCache()
    assert len(add_masks(picture, Regions.empty(picture.size), segmenter, cache)) == 0
    assert len(regions_at(picture, np.zeros((0, 2), np.float32), segmenter, cache)) == 0
    assert cache.stats.entries == 0, "nothing to ask means no pass through the encoder"


def test_points_give_a_region_each(segmenter: SamSegmenter, picture: Picture) -> None:
    cache = FeatureCache()
    found = regions_at(picture, POINTS, segmenter, cache)
    assert len(found) == len(POINTS)
    assert found.source == "sam-points"
    assert found.scores is not None
    np.testing.assert_array_equal(found.boxes, mask_bounds(found.dense_masks()))
    assert (found.areas > 0).all()
    assert regions_at(picture, POINTS.copy(), segmenter, cache) is found


@pytest.mark.parametrize("pixels", [1, 2**24])
def test_where_sam_sees_nothing_the_region_is_the_pixel(
    tiny_sam: Callable[[], Sam], picture: Picture, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea.backbones.sam._PIXELS", pixels)
    model = tiny_sam()
    for network in model.mask_decoder.output_hypernetworks_mlps:
        for parameter in network.parameters():
            parameter.data.zero_()
    found = regions_at(picture, POINTS, SamSegmenter(model, "blind"), FeatureCache())
    np.testing.assert_array_equal(found.boxes[:, :2], np.floor(POINTS))
    np.testing.assert_array_equal(found.areas, 1)


@pytest.mark.parametrize("points", [[[70, 5]], [[-1, 5]], [[5, np.nan]], [[np.inf, 5]], [1, 2, 3], [[1, 2, 3]]])
def test_points_that_make_no_sense(segmenter: SamSegmenter, picture: Picture, points: list) -> None:
    with pytest.raises(RegionError, match="point"):
        regions_at(picture, np.array(points), segmenter, FeatureCache())


def test_grid_offers_regions_best_first(segmenter: SamSegmenter, picture: Picture) -> None:
    found = SamGrid(segmenter, EASY).propose(picture, FeatureCache())
    assert len(found) > 1
    assert found.source == "sam-grid"
    assert found.scores is not None
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.boxes, mask_bounds(found.dense_masks()))


def test_grid_is_searched_once_per_picture_and_setting(tiny_sam: Callable[[], Sam], picture: Picture) -> None:
    model, passes = tiny_sam(), []
    model.vision_encoder.register_forward_hook(lambda *_: passes.append(1))
    segmenter, cache = SamSegmenter(model, "counted"), FeatureCache()
    found = SamGrid(segmenter, EASY).propose(picture, cache)
    assert SamGrid(segmenter, EASY).propose(picture, cache) is found
    coarse = SamGrid(segmenter, GridSettings(2, -100.0, 0.0)).propose(picture, cache)
    assert coarse is not found
    assert len(passes) == 1, "the embedding serves every setting"


def test_slices_of_the_grid_are_invisible(
    segmenter: SamSegmenter, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SamGrid(segmenter, EASY).propose(picture, FeatureCache())
    monkeypatch.setattr("fovea.backbones.sam._PIXELS", 1)
    assert same(SamGrid(segmenter, EASY).propose(picture, FeatureCache()), whole)


def test_grid_leaves_out_masks_of_no_sensible_size(segmenter: SamSegmenter, picture: Picture) -> None:
    limits = MaskFilter(min_mask_area=200, max_mask_area=2000)
    settings = GridSettings(4, -100.0, 0.0, max_overlap=0.95, mask_filter=limits)
    areas = SamGrid(segmenter, settings).propose(picture, FeatureCache()).dense_masks().sum((1, 2))
    assert len(areas)
    assert areas.min() >= 200
    assert areas.max() <= 2000


def test_blank_pictures_and_sceptical_settings_offer_nothing(segmenter: SamSegmenter, picture: Picture) -> None:
    blank = open_picture(np.full((40, 60, 3), 127, np.uint8))
    cache = FeatureCache()
    assert len(SamGrid(segmenter, EASY).propose(blank, cache)) == 0
    assert cache.stats.entries == 0
    assert len(SamGrid(segmenter, GridSettings(4, min_iou=1e9)).propose(picture, cache)) == 0


def test_threads_share_a_segmenter(segmenter: SamSegmenter, boxes: Regions) -> None:
    rng = np.random.default_rng(3)
    pictures = [open_picture(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)) for _ in range(8)]
    serial = [add_masks(picture, boxes, segmenter, FeatureCache()) for picture in pictures]
    cache = FeatureCache()
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda picture: add_masks(picture, boxes, segmenter, cache), pictures))
    assert all(same(*pair) for pair in zip(serial, parallel, strict=True))


def test_crop_layers_search_every_crop(segmenter: SamSegmenter, picture: Picture) -> None:
    cache = FeatureCache()
    found = SamGrid(segmenter, replace(EASY, crop_layers=1, points_divisor=2)).propose(picture, cache)
    assert found.size == picture.size
    assert found.dense_masks().shape[1:] == (picture.height, picture.width)
    # The picture and its four crops are embedded once each; the regions are the sixth entry.
    assert cache.stats.entries == 6

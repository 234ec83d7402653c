"""The point grid against the released generator with a scripted decoder."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fovea.backbones.sam import MaskLogits, choose, frame_size, picture_logits, upsample
from fovea.proposers.crops import Crop, crop_layers, cut_off
from fovea.proposers.grid_settings import GridSettings
from fovea.proposers.mask_filter import MaskFilter
from fovea.proposers.nms import suppress
from fovea.proposers.sam_grid import collect, point_grid, stability
from fovea.regions import mask_bounds

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp"


def said(low_res: torch.Tensor, iou: torch.Tensor) -> MaskLogits:
    """What a decoder says, whose tokens do not matter here."""
    return MaskLogits(low_res, iou, torch.zeros(*iou.shape, 1))


@pytest.fixture(scope="module")
def scripted() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "auto_masks.npz"))


RUNS = {
    "base": GridSettings(6, 0.86, 0.92, 0.7),
    "nms0.95": GridSettings(6, 0.86, 0.92, 0.7, max_overlap=0.95),
    "min60": GridSettings(6, 0.86, 0.92, 0.7, mask_filter=MaskFilter(fill_holes_below=60, drop_islands_below=60)),
    "loose": GridSettings(6, 0.0, 0.0, 0.7),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("chunk", [10, 7, 36])
def test_generator_matches(run: str, chunk: int, scripted: dict[str, np.ndarray]) -> None:
    low = torch.from_numpy(scripted["low_res_logits"].astype(np.float32))
    iou = torch.from_numpy(scripted["iou_preds"])
    height, width = scripted["image_hw"]
    batches = (said(a, b) for a, b in zip(low.split(chunk), iou.split(chunk), strict=True))
    size = (int(width), int(height))
    regions = collect([(Crop((0, 0, *size), 0), batches)], size, int(scripted["sam_image_size"]), RUNS[run])
    expected = np.unpackbits(scripted[f"{run}__masks"], axis=-1, count=int(width)).astype(bool)
    np.testing.assert_array_equal(regions.dense_masks(), expected)
    np.testing.assert_allclose(regions.scores, scripted[f"{run}__pred_iou"], atol=1e-6)
    # The released boxes end at the last pixel, ours behind it.
    xywh = scripted[f"{run}__bbox_xywh"]
    np.testing.assert_array_equal(regions.boxes[:, :2], xywh[:, :2])
    np.testing.assert_array_equal(regions.boxes[:, 2:], xywh[:, :2] + xywh[:, 2:] + 1)


def test_grid_points_match(scripted: dict[str, np.ndarray]) -> None:
    golden = np.load(GOLDEN / "nms_grid.npz")
    for count in (1, 4, 8, 16, 32):
        np.testing.assert_allclose(point_grid(count), golden[f"grid_{count}"], atol=1e-12)
    for layer in range(3):
        np.testing.assert_allclose(point_grid(16 // 2**layer), golden[f"layer_grid_16_{layer}"], atol=1e-12)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (640, 427), (250, 333)])
def test_crops_match(width: int, height: int) -> None:
    golden = np.load(GOLDEN / "nms_grid.npz")
    crops = crop_layers((width, height), 1)
    np.testing.assert_array_equal([crop.box for crop in crops], golden[f"crop_boxes_{height}x{width}_1"])
    np.testing.assert_array_equal([crop.layer for crop in crops], golden[f"crop_layers_{height}x{width}_1"])
    assert [crop.layer for crop in crop_layers((width, height), 2)].count(2) == 16


def test_what_a_crop_cuts_off_matches() -> None:
    golden = np.load(GOLDEN / "nms_grid.npz")
    found = cut_off(golden["edge_boxes"], Crop((0, 0, 120, 90), 1), (200, 150))
    np.testing.assert_array_equal(found, golden["edge_near_crop0_0_120_90_of_200_150"])
    found = cut_off(golden["edge_boxes"], Crop((0, 0, 200, 150), 0), (200, 150))
    np.testing.assert_array_equal(found, golden["edge_near_full"])


def test_masks_of_crops_come_back_to_their_place() -> None:
    size = (400, 300)
    low = torch.full((1, 3, 16, 16), -9.0)
    # In the crop's own frame of 200 x 200: a square in its middle, the same again, and one that touches its edge.
    low[0, :2, 6:10, 6:10] = low[0, 2, 6:10, 12:] = 9.0
    quality = torch.tensor([[0.95, 0.9, 0.99]])
    crop = Crop((100, 50, 300, 250), 1)
    settings = GridSettings(min_stability=0.0)
    (alone,) = collect([(crop, [said(low, quality)])], size, 200, settings).dense_masks()
    ys, xs = np.flatnonzero(alone.any(1)), np.flatnonzero(alone.any(0))
    assert (xs[0], xs[-1], ys[0], ys[-1]) == (175, 224, 125, 174)
    # The whole picture offers the same thing with more confidence: the crop's mask stays.
    whole = torch.full((1, 1, 16, 16), -9.0)
    whole[0, 0, 5:7, 7:9] = 9.0
    both = [
        (Crop((0, 0, *size), 0), [said(whole, torch.tensor([[0.999]]))]),
        (crop, [said(low, quality)]),
    ]
    np.testing.assert_array_equal(collect(both, size, 200, settings).dense_masks(), [alone])


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.95])
def test_suppression_matches(threshold: float) -> None:
    golden = np.load(GOLDEN / "nms_grid.npz")
    kept = suppress(golden["nms_boxes"], golden["nms_scores"], threshold)
    np.testing.assert_array_equal(kept, golden[f"nms_keep_{threshold}"])


def test_suppression_at_the_threshold_and_of_nothing() -> None:
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 2, 1]], np.float32)
    # The second box has an IoU of exactly 0.5 with the others; the third equals the first and comes later.
    assert suppress(boxes, np.array([0.5, 0.9, 0.5]), 0.5).tolist() == [1, 0]
    assert suppress(boxes, np.array([0.5, 0.9, 0.5]), 0.49).tolist() == [1]
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("offset", [0.7, 1.0])
def test_stability_matches(offset: float) -> None:
    golden = np.load(GOLDEN / "nms_grid.npz")
    found = stability(torch.from_numpy(golden["stability_logits"]), offset)
    np.testing.assert_allclose(found, golden[f"stability_off{offset}"], atol=1e-6)


def test_overlap_is_measured_as_the_released_program_does() -> None:
    low = torch.full((1, 2, 16, 16), -9.0)
    low[0, 0, :, :4] = low[0, 1, :, :3] = 9.0
    batch = said(low, torch.tensor([[0.95, 0.9]]))
    # With the last pixel inclusive the boxes are 3 and 2 wide: an IoU of 0.67 instead of 0.75.
    whole = Crop((0, 0, 16, 16), 0)
    assert len(collect([(whole, [batch])], (16, 16), 16, GridSettings(max_overlap=0.7))) == 2
    assert len(collect([(whole, [batch])], (16, 16), 16, GridSettings(max_overlap=0.6))) == 1


def test_no_masks_is_an_answer() -> None:
    regions = collect([], (20, 10), 32, GridSettings())
    assert len(regions) == 0
    assert regions.masks == ()
    assert regions.size == (20, 10)


def test_the_last_of_three_masks_matches_the_released_choice() -> None:
    golden = np.load(GOLDEN / "sam_box_pipeline.npz")
    low = torch.from_numpy(golden["low_res_logits"].astype(np.float32))[:, None]
    three = said(torch.cat([low, low - 1.5, low + 1], 1), torch.tensor([[0.1, 0.9, 0.2]]).repeat(4, 1))
    size = (int(golden["sam_resized_shape"][1]), int(golden["sam_resized_shape"][0]))
    masks = upsample(choose(three, "last").low_res, size, 128)[:, 0] > 0
    np.testing.assert_array_equal(masks.numpy(), golden["multimask_area0__masks"])
    torch.testing.assert_close(choose(three, "best_iou").low_res, low - 1.5)
    torch.testing.assert_close(choose(three, "first").low_res, low)


def test_every_setting_is_named() -> None:
    """Results of two grids must not mix."""
    others = {
        "points_per_side": 9,
        "min_iou": 0.5,
        "min_stability": 0.5,
        "stability_offset": 0.5,
        "max_overlap": 0.5,
        "crop_layers": 2,
        "points_divisor": 3,
        "mask_filter": MaskFilter(min_mask_area=9),
    }
    assert set(others) == {one.name for one in fields(GridSettings)}
    crops = GridSettings(crop_layers=1)
    names = {replace(crops, **{field: value}).name for field, value in others.items()}
    assert len(names | {crops.name, GridSettings().name}) == len(others) + 2


@pytest.mark.parametrize("run", RUNS)
def test_recorded_points_areas_and_stability(run: str, scripted: dict[str, np.ndarray]) -> None:
    """Every recorded mask comes from the candidate with its point and its IoU, and is as steady as that one."""
    height, width = (int(side) for side in scripted["image_hw"])
    size, longest = (width, height), int(scripted["sam_image_size"])
    points = point_grid(6) * np.array(size)
    np.testing.assert_allclose(points * (longest / max(size)), scripted["points_model_scale"])
    low = torch.from_numpy(scripted["low_res_logits"].astype(np.float32))
    logits = torch.cat(list(picture_logits(low.flatten(0, 1), size, longest))).view(36, 3, height, width)
    steady, areas = stability(logits, 0.7).numpy(), (logits > 0).sum((2, 3)).numpy()
    for row, point in enumerate(scripted[f"{run}__points"]):
        (at,) = np.flatnonzero(np.isclose(points, point).all(1))
        mask = np.abs(scripted["iou_preds"][at] - scripted[f"{run}__pred_iou"][row]).argmin()
        assert steady[at, mask] == pytest.approx(scripted[f"{run}__stability"][row], abs=1e-6)
        # Mended masks have other areas.
        assert run == "min60" or areas[at, mask] == scripted[f"{run}__area"][row]
    # Without crop layers the only crop is the picture.
    assert (scripted[f"{run}__crop_box_xywh"] == [0, 0, width, height]).all()
    assert [crop.box for crop in crop_layers(size, 0)] == [(0, 0, width, height)]


@pytest.mark.parametrize("run", ["area0", "area40", "area40_recompute", "multimask_area0"])
def test_boxes_go_to_the_frame_and_back_as_recorded(run: str) -> None:
    golden = np.load(GOLDEN / "sam_box_pipeline.npz")
    with Image.open(GOLDEN / "image.png") as image:
        size = image.size
    frame = frame_size(size, int(golden["sam_image_size"]))
    np.testing.assert_array_equal(frame[::-1], golden["sam_resized_shape"])
    scale = np.tile(np.array(frame) / np.array(size), 2)
    np.testing.assert_allclose(golden["boxes_fed_to_sam"][:, 0], golden["boxes_xyxy"], atol=1e-5)
    scaled = golden[f"{run}__boxes_sam_scale"]
    if run == "area40_recompute":
        np.testing.assert_array_equal(mask_bounds(golden[f"{run}__masks"]) - [0, 0, 1, 1], scaled)
    else:
        np.testing.assert_allclose(golden["boxes_xyxy"] * scale, scaled, atol=1e-4)
    back = scaled / scale
    found = np.concatenate([back[:, :2], back[:, 2:] - back[:, :2]], axis=1)
    np.testing.assert_allclose(found, golden[f"{run}__returned_boxes_xywh"], atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (20, 1000), (35, 35)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_crops_of_tiny_pictures_are_never_empty(size: tuple[int, int], layers: int) -> None:
    for crop in crop_layers(size, layers):
        x1, y1, x2, y2 = crop.box
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]


def test_mending_may_bring_a_mask_out_of_the_sizes_that_count() -> None:
    low = torch.full((1, 1, 32, 32), -9.0)
    low[0, 0, 4:14, 4:14] = low[0, 0, 20:22, 20:22] = 9.0
    found = [(Crop((0, 0, 32, 32), 0), [said(low, torch.tensor([[0.95]]))])]
    for least, expected in ((90, 1), (102, 0)):
        limits = MaskFilter(drop_islands_below=10, min_mask_area=least)
        regions = collect(found, (32, 32), 32, GridSettings(min_stability=0, mask_filter=limits))
        assert len(regions) == expected

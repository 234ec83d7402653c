"""Marks against pictures recorded from the released FGVP and ReCLIP programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.marks import MarkOptions, parse_style
from fovea.marks.parity import (
    Frame,
    _ellipse_geometry,
    clip_inputs,
    draw_crop,
    draw_marks,
    resize_bilinear,
    scale_frame,
)
from fovea.marks.styles import COLOURS, RELEASED

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

#: Cropped styles are recorded on a canvas of 96 x 96 with black to the right and below.
CROPPED = [name for name, style in RELEASED.items() if style.cropped]
WHOLE = [name for name, style in RELEASED.items() if not style.cropped]


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "prompts_inputs.npz"))


def recorded_frame(inputs: dict[str, np.ndarray], rows: list[int]) -> Frame:
    height, width = inputs["image"].shape[:2]
    boxes = np.clip(inputs["boxes"], 0, np.array([width - 1, height - 1] * 2, np.float32))
    return Frame(inputs["image"], boxes[rows], inputs["masks"][rows])


@pytest.mark.parametrize("name", WHOLE)
def test_renders_are_bit_equal(name: str, inputs: dict[str, np.ndarray]) -> None:
    pytest.importorskip("cv2")
    expected = np.load(GOLDEN / "prompts_render.npz")[name]
    drawn = draw_marks(recorded_frame(inputs, [*range(6)]), RELEASED[name], MarkOptions(blur_sigma=6, marking_size=96))
    np.testing.assert_array_equal(drawn[: len(expected)], expected)


@pytest.mark.parametrize("name", CROPPED)
def test_crops_are_bit_equal(name: str, inputs: dict[str, np.ndarray]) -> None:
    expected = np.load(GOLDEN / "prompts_render.npz")[name]
    options = MarkOptions(blur_sigma=6, marking_size=96)
    for index in range(6):
        crop = draw_crop(
            inputs["image"], inputs["boxes"][index], inputs["masks"][index], RELEASED[name], options,
            processing="padding",
        )  # fmt: skip
        height, width = crop.shape[:2]
        np.testing.assert_array_equal(crop, expected[index, :height, :width])
        assert not expected[index, height:].any()
        assert not expected[index, :, width:].any()


#: What the recorded variants change; names are the released program's.
VARIANTS = {
    "blur_mask__sigma100": {"blur_sigma": 100},
    "blur_circle_mask__sigma100": {"blur_sigma": 100},
    "blur_box_mask__sigma20": {"blur_sigma": 20},
    "blur_mask__sigma1": {"blur_sigma": 1},
    "circle__thick1_blue": {"thickness": 1, "line_colour": COLOURS["blue"]},
    "circle__thick5_yellow": {"thickness": 5, "line_colour": COLOURS["yellow"]},
    "contour__scale1.3": {"contour_scale": 1.3},
    "contour__scale0.7_thick1": {"contour_scale": 0.7, "thickness": 1},
    "blur_mask__scale1.3": {"contour_scale": 1.3},
    "blur_circle_mask__scale1.3": {"contour_scale": 1.3},
    "mask__cptred_alpha0.3": {"fill_colour": COLOURS["cpt_red"], "alpha": 0.3},
    "box_mask__purple_alpha0.7": {"fill_colour": COLOURS["purple"], "alpha": 0.7},
    "box__thick3_white": {"thickness": 3, "line_colour": COLOURS["white"]},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_options_are_followed_bit_by_bit(name: str, inputs: dict[str, np.ndarray]) -> None:
    pytest.importorskip("cv2")
    golden = np.load(GOLDEN / "prompts_variants.npz")
    assert set(golden.files) == set(VARIANTS)
    options = MarkOptions(**{"blur_sigma": 6, "marking_size": 96, **VARIANTS[name]})
    frame = recorded_frame(inputs, [0, 3][: len(golden[name])])
    np.testing.assert_array_equal(draw_marks(frame, RELEASED[name.split("__")[0]], options), golden[name])


CLIP_CASES = [
    (name, processing, share, code)
    for name, processing, share, code in (
        ("resize_pct1.0__blur_mask", "resize", 1.0, "D4"),
        ("resize_pct1.0__circle", "resize", 1.0, "C1"),
        ("resize_pct1.0__contour", "resize", 1.0, "D1"),
        ("resize_pct1.0__crop", "resize", 1.0, "P"),
        ("padding_pct1.0__circle", "padding", 1.0, "C1"),
        ("padding_pct1.0__blur_mask", "padding", 1.0, "D4"),
        ("center_crop_pct1.0__blur_mask", "center_crop", 1.0, "D4"),
        ("center_crop_pct0.875__circle", "center_crop", 0.875, "C1"),
        ("center_crop_pct0.875__blur_mask", "center_crop", 0.875, "D4"),
        ("bias_crop_pct1.0__circle", "bias_crop", 1.0, "C1"),
        ("bias_crop_pct1.0__blur_mask", "bias_crop", 1.0, "D4"),
    )
]


@pytest.mark.parametrize(("name", "processing", "share", "code"), CLIP_CASES)
def test_network_inputs_match(
    name: str, processing: str, share: float, code: str, inputs: dict[str, np.ndarray]
) -> None:
    pytest.importorskip("cv2")
    expected = np.load(GOLDEN / "clip_inputs.npz")[name]
    rows = [0, 2]
    found = clip_inputs(
        inputs["image"], inputs["boxes"][rows], inputs["masks"][rows], parse_style(code),
        MarkOptions(blur_sigma=6, marking_size=32), mean=MEAN, std=STD, processing=processing, crop_share=share,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_masks_are_scaled_as_released(inputs: dict[str, np.ndarray]) -> None:
    golden = np.load(GOLDEN / "clip_inputs.npz")
    frame = scale_frame(inputs["image"], inputs["boxes"], inputs["masks"], 32)
    assert frame.masks is not None
    np.testing.assert_array_equal(frame.masks, golden["mask_resized_from_bool"])
    np.testing.assert_array_equal(frame.pixels, golden["image_resized"])
    logits = golden["mask_logits"].astype(np.float32)
    frame = scale_frame(inputs["image"], inputs["boxes"][:4], logits, 32)
    np.testing.assert_array_equal(frame.masks, golden["mask_resized_from_logits"])


def test_logits_can_be_masks(inputs: dict[str, np.ndarray]) -> None:
    golden = np.load(GOLDEN / "clip_inputs.npz")
    logits = golden["mask_logits"].astype(np.float32)[[0, 2]]
    found = clip_inputs(
        inputs["image"], inputs["boxes"][[0, 2]], logits, parse_style("D2"), MarkOptions(marking_size=32),
        mean=MEAN, std=STD,
    )  # fmt: skip
    np.testing.assert_allclose(found, golden["resize_pct1.0__mask__from_logits"], atol=1e-4)


def test_sam_pipeline_inputs_match(inputs: dict[str, np.ndarray]) -> None:
    """The whole way from SAM's logits to two CLIPs: marking at 48, then a second resampling to 24 and 32."""
    pytest.importorskip("cv2")
    golden = np.load(GOLDEN / "sam_box_pipeline.npz")
    low = golden["low_res_logits"].astype(np.float32)[:, None]
    height, width = golden["sam_resized_shape"]
    logits = resize_bilinear(low, (128, 128))[:, 0, :height, :width]
    np.testing.assert_array_equal(logits > 0, golden["area0__masks"])
    boxes = golden["area0__boxes_sam_scale"]
    options = MarkOptions(blur_sigma=6, marking_size=48)
    stacks = [
        clip_inputs(golden["image_sam_resized"], boxes, logits, parse_style(code), options, mean=MEAN, std=STD)
        for code in ("D4", "C1")
    ]
    marked = np.concatenate(stacks)
    np.testing.assert_allclose(resize_bilinear(marked, (24, 24)), golden["area0__clip24"], atol=1e-4)
    np.testing.assert_allclose(resize_bilinear(marked[:2], (32, 32)), golden["area0__clip32_first2"], atol=1e-4)


@pytest.mark.parametrize("size", [(40, 30), (40, 77), (20, 30), (77, 54)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resampling_is_that_of_the_reference(size: tuple[int, int], channels: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, channels, 40, 54)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(values), size=size, mode="bilinear")
    np.testing.assert_array_equal(resize_bilinear(values, size), expected.numpy())
    # Also of a view that is not in order in memory.
    flipped = np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(resize_bilinear(flipped, size), expected.numpy())


def test_ellipses_and_boxes_stand_where_they_were_recorded(inputs: dict[str, np.ndarray]) -> None:
    frame = recorded_frame(inputs, [*range(6)])
    np.testing.assert_array_equal(frame.boxes, inputs["boxes_clamped"])
    centers, axes = zip(*(_ellipse_geometry(box) for box in frame.boxes), strict=True)
    # Truncated to whole pixels only when they are drawn.
    np.testing.assert_array_equal(centers, inputs["ellipse_centers"].astype(int))
    np.testing.assert_array_equal(axes, inputs["ellipse_axes"].astype(int))
    np.testing.assert_allclose((inputs["boxes"][:, :2] + inputs["boxes"][:, 2:]) / 2, inputs["centers"], atol=1e-5)


def test_mended_masks_lead_to_the_recorded_inputs() -> None:
    """As with logits, but the mask filter makes booleans of them, which widen a little when they are scaled."""
    pytest.importorskip("cv2")
    golden = np.load(GOLDEN / "sam_box_pipeline.npz")
    options = MarkOptions(blur_sigma=6, marking_size=48)
    boxes, masks = golden["area40__boxes_sam_scale"], golden["area40__masks"]
    stacks = [
        clip_inputs(golden["image_sam_resized"], boxes, masks, parse_style(code), options, mean=MEAN, std=STD)
        for code in ("D4", "C1")
    ]
    np.testing.assert_allclose(resize_bilinear(np.concatenate(stacks), (24, 24)), golden["area40__clip24"], atol=1e-4)

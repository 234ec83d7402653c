"""Marks against pictures recorded from the released FGVP and ReCLIP programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.backbones.sources import PRESETS  # noqa: F401  (imports stay light: no torch needed for marks)
from fovea.marks import MarkOptions, parse_style
from fovea.marks.parity import Frame, clip_inputs, draw_marks, reclip_crops, resize_bilinear, scale_frame

GOLDEN = Path(__file__).parents[1] / "golden" / "fgvp"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

# Our style codes and the names that the recorded arrays carry.
RENDERS = {
    "I": "none", "B1": "box", "B2": "box_mask", "B3": "grayscale_box_mask", "B4": "blur_box_mask",
    "C1": "circle", "C2": "circle_mask", "C3": "grayscale_circle_mask", "C4": "blur_circle_mask",
    "D2": "mask", "D3": "grayscale_mask", "D4": "blur_mask",
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "prompts_inputs.npz"))


@pytest.mark.parametrize("code", RENDERS)
def test_renders_are_bit_equal(code: str, inputs: dict[str, np.ndarray]) -> None:
    pytest.importorskip("cv2")
    expected = np.load(GOLDEN / "prompts_render.npz")[RENDERS[code]]
    height, width = inputs["image"].shape[:2]
    boxes = np.clip(inputs["boxes"], 0, np.array([width - 1, height - 1] * 2, np.float32))
    frame = Frame(inputs["image"], boxes, inputs["masks"])
    drawn = draw_marks(frame, parse_style(code), MarkOptions(blur_sigma=6, marking_size=96))
    np.testing.assert_array_equal(drawn[: len(expected)], expected)


CLIP_CASES = [
    (name, processing, share, code)
    for name, processing, share, code in (
        ("resize_pct1.0__blur_mask", "resize", 1.0, "D4"),
        ("resize_pct1.0__circle", "resize", 1.0, "C1"),
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


def test_reclip_crops_match() -> None:
    golden = np.load(GOLDEN / "reclip_reps.npz")
    image = Image.open(GOLDEN / "image.png").convert("RGB")
    boxes = golden["boxes_xywh"].copy()
    boxes[:, 2:] += boxes[:, :2]
    found = reclip_crops(image, boxes[:2], 32, mean=MEAN, std=STD)
    np.testing.assert_allclose(found, golden["clip_square_crop"], atol=1e-5)
    assert reclip_crops(image, boxes[:0], 32, mean=MEAN, std=STD).shape == (0, 3, 32, 32)

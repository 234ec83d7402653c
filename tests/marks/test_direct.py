"""The default renderer against slow and obvious ones, and against the released programs' drawings."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fovea.errors import RegionError
from fovea.marks import STYLES, Effect, Geometry, MarkOptions, MarkStyle, parse_style, render
from fovea.marks.coverage import box_coverage, drawn_width, ellipse_coverage
from fovea.pictures import open_picture
from fovea.regions import Regions

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 80, 3), np.uint8)
PICTURE = open_picture(PIXELS)
BOXES = np.array([[10, 8, 41.5, 30.25], [50, 20, 79, 59]], np.float32)


def masks() -> np.ndarray:
    found = np.zeros((2, 60, 80), bool)
    found[0, 10:28, 14:38] = True
    found[1, 25:50, 55:75] = True
    return found


REGIONS = Regions.from_masks(masks(), boxes=BOXES)


def supersampled(inside, size: tuple[int, int], times: int = 16) -> np.ndarray:
    """Share of every pixel for which a predicate of x and y holds, by brute force."""
    xs = (np.arange(size[0] * times) + 0.5) / times
    ys = (np.arange(size[1] * times) + 0.5) / times
    fine = inside(xs[None], ys[:, None]).astype(float)
    return fine.reshape(size[1], times, size[0], times).mean((1, 3))


def test_boxes_cover_pixels_by_area() -> None:
    covered = box_coverage(BOXES, (80, 60))
    for box, found in zip(BOXES, covered, strict=True):
        slow = supersampled(lambda x, y, b=box: (x > b[0]) & (x < b[2]) & (y > b[1]) & (y < b[3]), (80, 60))
        np.testing.assert_allclose(found, slow, atol=1e-6)


def test_ellipses_cover_pixels_nearly_by_area() -> None:
    covered = ellipse_coverage(BOXES, (80, 60))
    for (x1, y1, x2, y2), found in zip(BOXES, covered, strict=True):
        slow = supersampled(
            lambda x, y: ((x - (x1 + x2) / 2) / (x2 - x1) * 2) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1) * 2) ** 2 < 1,  # noqa: B023
            (80, 60),
        )
        # A smooth edge of one pixel's width is no exact area.
        assert np.abs(found - slow).max() < 0.2
        assert np.abs(found.sum() - slow.sum()) < 0.005 * slow.sum()


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.code)
def test_one_region_is_drawn_like_many(style: MarkStyle) -> None:
    together = render(PICTURE, REGIONS, style, (32, 24))
    assert together.shape == (2, 24, 32, 3)
    assert together.dtype == np.uint8
    for index in range(2):
        np.testing.assert_array_equal(together[index], render(PICTURE, REGIONS.select([index]), style, (32, 24))[0])


@pytest.mark.parametrize("geometry", [Geometry.BOX, Geometry.ELLIPSE, Geometry.MASK])
@pytest.mark.parametrize("effect", [Effect.FILL, Effect.GRAY, Effect.BLUR])
def test_effects_stay_on_their_side(geometry: Geometry, effect: Effect) -> None:
    marked = render(PICTURE, REGIONS, MarkStyle(geometry, effect), PICTURE.size)
    for found, (x1, y1, x2, y2), mask in zip(marked, BOXES, masks(), strict=True):
        ys, xs = np.mgrid[:60, :80] + 0.5
        if geometry is Geometry.MASK:
            inside, outside = mask, ~mask
        elif geometry is Geometry.BOX:
            inside = (xs - 0.5 >= x1) & (xs + 0.5 <= x2) & (ys - 0.5 >= y1) & (ys + 0.5 <= y2)
            outside = (xs + 0.5 <= x1) | (xs - 0.5 >= x2) | (ys + 0.5 <= y1) | (ys - 0.5 >= y2)
        else:
            radius = np.hypot((xs - (x1 + x2) / 2) / (x2 - x1) * 2, (ys - (y1 + y2) / 2) / (y2 - y1) * 2)
            inside, outside = radius < 0.8, radius > 1.2
        kept, changed = (outside, inside) if effect is Effect.FILL else (inside, outside)
        np.testing.assert_array_equal(found[kept], PIXELS[kept])
        assert (found[changed] != PIXELS[changed]).any(axis=-1).mean() > 0.95
        if effect is Effect.GRAY:
            assert np.ptp(found[changed].astype(int), axis=-1).max() == 0
        if effect is Effect.BLUR:
            assert found[changed].std() < PIXELS[changed].std() / 3


def test_fills_mix_by_alpha() -> None:
    options = MarkOptions(fill_colour=(10, 200, 30), alpha=0.25)
    marked = render(PICTURE, REGIONS, parse_style("D2"), PICTURE.size, options)[0]
    mixed = 0.25 * np.array([10, 200, 30]) + 0.75 * PIXELS[masks()[0]]
    np.testing.assert_allclose(marked[masks()[0]], mixed, atol=0.51)


@pytest.mark.parametrize("code", ["B1", "C1"])
def test_lines_run_along_the_region(code: str) -> None:
    base = open_picture(np.full((60, 80, 3), 128, np.uint8))
    options = MarkOptions(thickness=2, marking_size=60)
    marked = render(base, REGIONS, parse_style(code), (80, 60), options)[0].astype(int)
    red = (marked[..., 0] > 200) & (marked[..., 1] < 60)
    # Three pixels wide at the four points where box and ellipse touch, and nothing in the middle.
    x1, y1, x2, y2 = BOXES[0]
    assert 2 <= red[:, round((x1 + x2) / 2)].sum() / 2 <= 3
    assert 2 <= red[round((y1 + y2) / 2)].sum() / 2 <= 3
    assert not red[int(y1) + 4 : int(y2) - 4, round((x1 + x2) / 2)].any()


def test_crops_are_cut_and_squashed() -> None:
    crops = render(PICTURE, Regions.from_boxes([[10, 8, 42, 30]], PICTURE.size), parse_style("P"), (32, 22))
    np.testing.assert_array_equal(crops[0], PIXELS[8:30, 10:42])
    # Resampling may look a pixel or two beyond the box, hence a corner of one colour.
    corner = PIXELS.copy()
    corner[-4:, -4:] = (9, 8, 7)
    tiny = render(
        open_picture(corner), Regions.from_boxes([[79.8, 59.9, 80, 60]], PICTURE.size), parse_style("P"), (4, 4)
    )
    assert (tiny == (9, 8, 7)).all()


def test_the_raw_picture_is_the_same_for_all() -> None:
    squashed = np.asarray(Image.fromarray(PIXELS).resize((32, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(render(PICTURE, REGIONS, parse_style("raw"), (32, 24)), np.stack([squashed] * 2))


def test_widths_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    for thickness in range(1, 9):
        canvas = cv2.line(np.zeros((40, 40), np.uint8), (0, 20), (39, 20), 255, thickness)
        assert drawn_width(thickness) == (canvas[:, 20] > 0).sum()


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 1.7},
        {"line_colour": (0, 0)},
        {"fill_colour": (0, 0, 300)},
        {"blur_sigma": float("nan")},
        {"thickness": 0},
        {"marking_size": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(RegionError):
        MarkOptions(**wrong)


def test_colours_may_be_lists() -> None:
    assert hash(MarkOptions(line_colour=[1, 2, 3])) == hash(MarkOptions(line_colour=(1, 2, 3)))  # type: ignore[arg-type]


def test_masks_are_needed_where_a_style_shows_them() -> None:
    with pytest.raises(RegionError, match="masks"):
        render(PICTURE, Regions.from_boxes(BOXES, PICTURE.size), parse_style("D4"), (32, 24))

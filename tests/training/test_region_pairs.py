"""What a CLIP with an alpha plane is shown, against what is known by construction."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fovea.datasets.region_texts import DescribedPicture, RegionText
from fovea.errors import DataError
from fovea.regions import encode_masks
from fovea.training.region_pairs import RegionPairs, crop_around, fit_square, mask_to_alpha, text_key
from fovea.training.vocabulary import build_tokenizer


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def half_red(number: int, caption: str = "a red picture") -> DescribedPicture:
    """A wide picture whose left quarter is red, and so is its region; its third colour tells its number."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[..., 2] = number
    pixels[:, :8, 0] = 255
    region = RegionText("red thing", encode_masks(pixels[None, ..., 0] == 255)[0], (0, 0, 8, 16))
    other = RegionText("blue thing", encode_masks(pixels[None, ..., 0] == 0)[0], (8, 0, 32, 16))
    return DescribedPicture(f"p{number}", encoded(pixels), "png", caption, (region, other))


@dataclass
class Pictures:
    rows: list[DescribedPicture]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> DescribedPicture:
        return self.rows[number]


def pairs(rows: list[DescribedPicture], **changes: Any) -> RegionPairs:
    usual: dict[str, Any] = {"seed": 0, "steps": 50, "batch_size": 4, "size": 32, "whole_share": 0.0, "fit": "squash"}
    return RegionPairs(Pictures(rows), build_tokenizer(), context_length=24, **(usual | changes))


TEN = [half_red(10 * number) for number in range(10)]


def test_batches_depend_on_their_number_alone() -> None:
    first, again = pairs(TEN)[3], pairs(TEN)[3]
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    assert not np.array_equal(first["pixels"], pairs(TEN)[4]["pixels"])
    assert not np.array_equal(first["pixels"], pairs(TEN, seed=1)[3]["pixels"])
    assert first["pixels"].shape == (4, 32, 32, 3)
    assert first["alpha"].dtype == np.float32
    assert first["ids"].shape[0] == len(first["keys"]) == 4


def test_every_picture_comes_once_before_one_comes_again() -> None:
    data = pairs(TEN)
    seen = np.concatenate([data[step]["pixels"][:, 16, 16, 2] for step in range(5)])
    for round_ in (seen[:10], seen[10:]):
        assert sorted(round_) == [10 * number for number in range(10)]
    assert list(seen[:10]) != list(seen[10:])


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_masks_lie_on_what_they_mask(fit: str) -> None:
    data = pairs(TEN, fit=fit)
    red = text_key(data.tokenizer("red thing")["input_ids"])
    for step in range(3):
        batch = data[step]
        for pixels, alpha, key in zip(batch["pixels"], batch["alpha"], batch["keys"], strict=True):
            inside = pixels[..., 0] / 255
            top = 8 if fit == "pad" else 0
            wanted = np.zeros((32, 32), np.float32)
            wanted[top : 32 - top] = inside[top : 32 - top] if key == red else 1 - inside[top : 32 - top]
            # Bicubic and bilinear samples differ at the edge alone.
            assert np.abs(alpha - wanted).mean() < 0.01
            assert not pixels[:top].any()


def test_the_odd_pixel_of_a_margin_comes_behind() -> None:
    image = Image.fromarray(np.full((3, 6, 3), 255, np.uint8))
    rows = np.asarray(fit_square(image, 6, "pad", Image.Resampling.NEAREST))[:, 0, 0]
    assert list(rows) == [0, 255, 255, 255, 0, 0]


def test_alphas_are_soft_at_their_edges_and_stay_within_0_and_1() -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:71, 30:71] = True
    alpha = mask_to_alpha(mask, 32, "squash")
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert ((alpha > 0.1) & (alpha < 0.9)).any()
    assert alpha.mean() == pytest.approx(mask.mean(), abs=0.005)


def test_some_pictures_are_meant_as_a_whole() -> None:
    rows = [*TEN[:5], *(replace(row, caption="") for row in TEN[5:])]
    data = pairs(rows, whole_share=0.4, batch_size=100, fit="pad")
    batches = [data[step] for step in range(4)]
    whole = np.concatenate([batch["whole"] for batch in batches])
    alpha = np.concatenate([batch["alpha"] for batch in batches])
    number = np.concatenate([batch["pixels"][:, 16, 16, 2] for batch in batches])
    # In black margins too.
    np.testing.assert_array_equal(whole, (alpha == 1).all((1, 2)))
    assert not whole[number >= 50].any()
    assert whole[number < 50].mean() == pytest.approx(0.4, abs=0.12)
    caption = text_key(data.tokenizer("a red picture")["input_ids"])
    np.testing.assert_array_equal(whole, np.concatenate([batch["keys"] for batch in batches]) == caption)
    assert not pairs(TEN, batch_size=50)[0]["whole"].any()


def test_equal_texts_have_equal_keys() -> None:
    batch = pairs(TEN, batch_size=10)[0]
    assert len(set(batch["keys"])) == len({tuple(row) for row in batch["ids"]}) == 2


def test_long_texts_are_cut_and_end_as_texts_end() -> None:
    long = replace(TEN[0], regions=(replace(TEN[0].regions[0], text="red " * 50),))
    data = pairs([long], batch_size=1)
    ids = data[0]["ids"]
    assert ids.shape == (1, 24)
    assert ids[0, -1] == data.tokenizer.eos_token_id


def test_damaged_pictures_give_way_to_others(caplog: pytest.LogCaptureFixture) -> None:
    small = encode_masks(np.ones((1, 4, 4), bool))[0]
    empty = encode_masks(np.zeros((1, 16, 32), bool))[0]
    damaged = [replace(TEN[0], key="broken", picture=b"no picture")]
    for key, mask in (("small", small), ("empty", empty)):
        damaged.append(replace(TEN[0], key=key, regions=(replace(TEN[0].regions[0], mask=mask),)))
    batch = pairs([*damaged, TEN[7]], batch_size=8)[0]
    assert (batch["pixels"][:, 16, 16, 2] == 70).all()
    said = " ".join(caplog.messages)
    assert all(row.key in said for row in damaged)
    with pytest.raises(DataError, match="in a row cannot be read"):
        pairs(damaged)[0]


def test_crops_hold_their_region_whole() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:18, 50:58] = True
    seen = {crop_around(np.random.default_rng(seed), mask, 0.5) for seed in range(200)}
    assert all(
        left <= 50 and top <= 10 and 58 <= right <= 60 and 18 <= bottom <= 40 for left, top, right, bottom in seen
    )
    assert all(right - left >= 30 and bottom - top >= 20 for left, top, right, bottom in seen)
    widths = [right - left for left, _, right, _ in seen]
    assert min(widths) < 33
    assert max(widths) > 57
    # A region that is longer than the share asked for is never cut.
    assert crop_around(np.random.default_rng(0), np.ones((8, 9), bool), 0.1) == (0, 0, 9, 8)


def test_crops_show_mask_and_picture_alike_and_spare_whole_pictures() -> None:
    data = pairs(TEN, smallest_crop=0.3)
    red = text_key(data.tokenizer("red thing")["input_ids"])
    shares = []
    for step in range(5):
        batch = data[step]
        for pixels, alpha, key in zip(batch["pixels"], batch["alpha"], batch["keys"], strict=True):
            sought = pixels[..., 0] > 128 if key == red else pixels[..., 0] <= 128
            assert np.mean((alpha > 0.5) == sought) > 0.93
            shares.append(round(float(alpha.mean()), 2))
    assert len(set(shares)) > 5
    whole = pairs(TEN, smallest_crop=0.3, whole_share=1.0)[0]
    assert (np.mean(whole["pixels"][..., 0] > 128, axis=(1, 2)) < 0.27).all()

"""What a CLIP with an alpha plane learns from: pictures, where to look in them, and what is there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from fovea.datasets.region_texts import DescribedPicture
from fovea.errors import DataError, FoveaError, PictureError
from fovea.pictures import open_picture
from fovea.regions import decode_masks, rle_from_json

log = logging.getLogger(__name__)

#: How a picture becomes square: with a black margin at its shorter side, or squashed.
Fit = Literal["pad", "squash"]

# So many damaged pictures in a row mean that something else is wrong.
_MOST_DAMAGED = 100


class DescribedPictures(Protocol):
    """Described pictures by number, such as :class:`fovea.datasets.region_text_shards.ShardIndex`."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> DescribedPicture: ...


def fit_square(image: Image.Image, side: int, fit: Fit, resampling: Image.Resampling) -> Image.Image:
    """Bring a picture or a mask to a square; equal sizes are treated alike, so that a mask stays on its picture.

    Args:
        image: mode ``RGB`` or ``F``.
        side: of the result in pixels.
        fit: whether the shorter side gets a black margin, the odd pixel behind, or all is squashed (specs/alphaclip.md,
            4).
        resampling: Pillow's; reduction averages.
    """
    width, height = image.size
    if fit == "pad" and width != height:
        longer = max(width, height)
        square = Image.new(image.mode, (longer, longer))
        square.paste(image, ((longer - width) // 2, (longer - height) // 2))
        image = square
    return image.resize((side, side), resampling)


def mask_to_alpha(mask: np.ndarray, side: int, fit: Fit) -> np.ndarray:
    """``(H, W)`` bool to ``(side, side)`` float32 in 0..1, soft at its edges, as the picture goes."""
    image = fit_square(Image.fromarray(mask.astype(np.float32)), side, fit, Image.Resampling.BILINEAR)
    return np.asarray(image)


def crop_around(rng: np.random.Generator, mask: np.ndarray, smallest: float) -> tuple[int, int, int, int]:
    """Draw a part of a picture that holds a region whole.

    Args:
        rng: draws the share of the sides, and the place.
        mask: ``(H, W)`` bool, not empty.
        smallest: least share of the picture's sides, 0..1; a region that is longer takes what it needs.

    Returns:
        Left, top, right and bottom in pixels, the latter two exclusive.
    """
    share = rng.uniform(smallest, 1)
    ends = []
    for axis, side in ((0, mask.shape[1]), (1, mask.shape[0])):
        seen = np.flatnonzero(mask.any(axis))
        first, last = int(seen[0]), int(seen[-1]) + 1
        length = max(last - first, round(share * side))
        start = int(rng.integers(max(0, last - length), min(first, side - length) + 1))
        ends.append((start, start + length))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def text_key(ids: Sequence[int] | np.ndarray) -> int:
    """Names a text by its token ids: equal for texts that the text tower cannot tell apart; 64 bits, signed."""
    digest = hashlib.blake2b(np.asarray(ids, np.int64).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


@lru_cache(maxsize=2)
def _order(seed: int, round_: int, count: int) -> np.ndarray:
    """In which order a round takes the pictures."""
    return np.random.default_rng((seed, 0, round_)).permutation(count)


class RegionPairs(Dataset[dict[str, Any]]):
    """Batches by number: batch ``i`` depends on the seed and on ``i`` alone, so that training can resume anywhere.

    All pictures are taken once before one is taken again, in another order every time; of each, one region is drawn,
    or now and then its caption with an alpha of ones, which keeps the model's sense of whole pictures.

    A batch holds, for B pictures of side S:
        pixels: ``(B, S, S, 3)`` uint8.
        alpha: ``(B, S, S)`` float32, 0..1, where to look.
        whole: ``(B,)`` bool, whether the whole picture is meant; alpha is then 1 in black margins too.
        ids: ``(B, L)`` int64, token ids of the texts, padded to the longest.
        keys: ``(B,)`` int64, equal for equal texts.

    Args:
        pictures: where they come from.
        tokenizer: of the text tower, from transformers.
        seed: of all that is drawn.
        steps: how many batches there are.
        batch_size: pictures in each.
        size: side of a picture in pixels.
        whole_share: how often a picture that has a caption is meant as a whole, 0..1.
        fit: how pictures become square.
        context_length: most tokens of a text; longer ones are cut.
        smallest_crop: a region is shown in a part of its picture, drawn anew each time: whole regions, sides of at
            least this share of the picture's; 1 shows the whole picture, as the paper does.
    """

    def __init__(
        self,
        pictures: DescribedPictures,
        tokenizer: Any,
        *,
        seed: int,
        steps: int,
        batch_size: int,
        size: int,
        whole_share: float,
        fit: Fit,
        context_length: int,
        smallest_crop: float = 1.0,
    ) -> None:
        self.pictures, self.tokenizer = pictures, tokenizer
        self.seed, self.steps, self.batch_size, self.size = seed, steps, batch_size, size
        self.whole_share, self.fit, self.context_length = whole_share, fit, context_length
        self.smallest_crop = smallest_crop

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, 1, step))
        taken = range(step * self.batch_size, (step + 1) * self.batch_size)
        samples = [self._sample(rng, number) for number in taken]
        texts = [sample.pop("text") for sample in samples]
        batch: dict[str, Any] = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.context_length, return_tensors="np"
        )
        ids = np.asarray(tokens["input_ids"], np.int64)
        visible = np.asarray(tokens["attention_mask"], bool)
        keys = [text_key(row[seen]) for row, seen in zip(ids, visible, strict=True)]
        return {**batch, "ids": ids, "keys": np.array(keys)}

    def _sample(self, rng: np.random.Generator, taken: int) -> dict[str, Any]:
        """What is learnt from the picture that is taken at a time; a damaged one gives way to any other."""
        count = len(self.pictures)
        number = int(_order(self.seed, taken // count, count)[taken % count])
        for _ in range(_MOST_DAMAGED):
            try:
                return self._pair(rng, self.pictures[number])
            except (PictureError, DataError) as error:
                log.warning("left out: %s", error)
                number = int(rng.integers(count))
        raise DataError(f"{_MOST_DAMAGED} pictures in a row cannot be read", "the log says what is wrong with them")

    def _pair(self, rng: np.random.Generator, described: DescribedPicture) -> dict[str, Any]:
        try:
            image = open_picture(described.picture).image
        except FoveaError as error:
            raise PictureError(f"{described.key}: {error.message}", error.hint) from error
        whole = bool(rng.random() < self.whole_share and described.caption)
        region = described.regions[rng.integers(len(described.regions))]
        if whole:
            alpha = np.ones((self.size, self.size), np.float32)
        else:
            width, height = image.size
            if list(region.mask["size"]) != [height, width]:
                raise DataError(f"a mask of {described.key} has another size than the picture", "make the data anew")
            mask = decode_masks([rle_from_json(region.mask)])[0]
            if not mask.any():
                # An alpha of zeros says that all is background.
                raise DataError(f"a mask of {described.key} is empty", "leave such regions out")
            if self.smallest_crop < 1:
                left, top, right, bottom = crop_around(rng, mask, self.smallest_crop)
                image, mask = image.crop((left, top, right, bottom)), mask[top:bottom, left:right]
            alpha = mask_to_alpha(mask, self.size, self.fit)
        return {
            "pixels": np.asarray(fit_square(image, self.size, self.fit, Image.Resampling.BICUBIC)),
            "alpha": alpha,
            "whole": whole,
            "text": described.caption if whole else region.text,
        }

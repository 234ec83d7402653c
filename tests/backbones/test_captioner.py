"""Captions of a small random BLIP-2 in the real layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.backbones.captioner import load_captioner
from fovea.backbones.clip import CLIP_MEAN, CLIP_STD
from fovea.errors import CheckpointError

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)


def test_every_picture_gets_a_caption_of_its_own(tiny_captioner_directory: Path) -> None:
    captioner = load_captioner(str(tiny_captioner_directory))
    assert captioner.image_size == 32
    captions = captioner.caption(PICTURES)
    assert len(captions) == 10
    assert captioner.caption(PICTURES[9:]) == captions[9:]
    assert captioner.caption(PICTURES[:0]) == []
    assert all("<image>" not in caption for caption in captions)
    assert all(len(caption.split()) <= 20 for caption in captions)
    assert captioner.key != load_captioner(str(tiny_captioner_directory)).key


def test_what_writes_no_captions_is_one_clear_error(tiny_sam_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="writes no captions"):
        load_captioner(str(tiny_sam_directory))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_captioner(str(tmp_path))


def test_a_prompt_leads_the_caption_and_is_no_part_of_it(tiny_captioner_directory: Path) -> None:
    captioner = load_captioner(str(tiny_captioner_directory))
    prompt = "the red car above the dog"
    asked = captioner.caption(PICTURES, prompt)
    assert captioner.caption(PICTURES[9:], prompt) == asked[9:]
    assert asked != captioner.caption(PICTURES)
    model, tokenizer = captioner._model, captioner._tokenizer
    begun = [model.config.image_token_index] * 3 + tokenizer(prompt)["input_ids"]
    pixels = torch.from_numpy(PICTURES[:1].astype(np.float32) / 255).permute(0, 3, 1, 2)
    pixels = (pixels - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
    tokens = model.generate(pixels, input_ids=torch.tensor([begun]), max_new_tokens=20, do_sample=False)[0]
    assert asked[0] == " ".join(tokenizer.decode(tokens[len(begun) :], True).split())

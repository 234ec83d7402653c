"""How captioners take their pictures and texts: each type of model in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

#: From pixels ``(B, T, 3, S, S)``, the texts' tensors and the picture's token to what a model's ``forward`` takes.
Feed = Callable[[Tensor, Mapping[str, Tensor], int], dict[str, Any]]


def _texts(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"input_ids": rows["ids"], "attention_mask": rows["mask"]}


def _in_a_row(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    """Pictures one after the other, whatever text they belong to."""
    return {"pixel_values": pixels.flatten(0, 1), **_texts(rows)}


def _by_text(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    return {"pixel_values": pixels, **_texts(rows)}


def _instructblip(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    read = {"qformer_input_ids": rows["read_ids"], "qformer_attention_mask": rows["read_mask"]}
    return {**_in_a_row(pixels, rows, token), **read}


def _idefics(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    """Words look at the last picture in front of them."""
    order = (rows["ids"] == token).long().cumsum(-1)
    seen = order[..., None] == torch.arange(1, pixels.shape[1] + 1, device=order.device)
    return {**_by_text(pixels, rows, token), "image_attention_mask": seen.long()}


def _flamingo(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    return {"pixels": pixels[:, :, None], **_texts(rows)}


def _paligemma(pixels: Tensor, rows: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    """What is given is read in both directions, what is learnt in one."""
    given = torch.zeros_like(rows["ids"])
    learnt = (rows["labels"] >= 0).long() if "labels" in rows else given
    return {**_in_a_row(pixels, rows, token), "token_type_ids": learnt}


#: By the type that a model's configuration states.
FEEDS: dict[str, Feed] = {
    "blip-2": _in_a_row,
    "instructblip": _instructblip,
    "flamingo": _flamingo,
    "idefics": _idefics,
    "idefics2": _by_text,
    "llava": _in_a_row,
    "paligemma": _paligemma,
}

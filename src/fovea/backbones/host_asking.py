"""How captioners are asked for boxes: by their type, or as a file beside them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.errors import CheckpointError
from fovea.language.box_text import BLIP2, FLAMINGO, GridCodec, Prompting

#: What may stand beside a model and say how it is asked.
SETTINGS = "fovea.json"

# How each type is asked; the end is the tokenizer's own where it is empty.
_PROMPTINGS = {
    "blip-2": BLIP2,
    "flamingo": FLAMINGO,
    "idefics": Prompting("<fake_token_around_image><image><fake_token_around_image>", ""),
    "idefics2": Prompting("<fake_token_around_image><image><fake_token_around_image>", ""),
    "instructblip": Prompting("", ""),
    "llava": Prompting("USER: <image>\nWhere is it? ASSISTANT: ", ""),
    "paligemma": Prompting("", ""),
}

# Per side; no captioner has so many places.
_MOST_CELLS = 4096


@dataclass(frozen=True)
class Asking:
    """How a host is asked for boxes.

    Attributes:
        prompting: the words around names and boxes.
        codec: how boxes are written.
    """

    prompting: Prompting
    codec: GridCodec


def usual_asking(kind: str, tokenizer: Any) -> Asking:
    """How a type of model is asked where nothing else is said.

    Args:
        kind: that a configuration states.
        tokenizer: whose end token ends answers, where the type has no end of its own.
    """
    usual = _PROMPTINGS[kind]
    return Asking(Prompting(usual.before, usual.end or tokenizer.eos_token or "."), GridCodec())


def read_asking(data: Mapping[str, Any], usual: Asking, source: str) -> Asking:
    """How a host is asked.

    Args:
        data: what ``fovea.json`` holds, or the configuration of a peer; what it lacks is as usual.
        usual: where it says nothing.
        source: of the data, for messages.

    Raises:
        CheckpointError: it makes no sense.
    """
    codec = data.get("codec", {"cells": usual.codec.cells, "frame": usual.codec.frame})
    before, end = data.get("before", usual.prompting.before), data.get("end", usual.prompting.end)
    if not (isinstance(codec, dict) and isinstance(before, str) and isinstance(end, str) and end):
        raise CheckpointError(f"the settings of {source} do not say how it is asked", "codec, before and end do")
    cells, frame = codec.get("cells", 0), codec.get("frame", 0)
    if type(cells) is not int or cells < 1 or type(frame) not in (int, float) or not 0 < frame < float("inf"):
        raise CheckpointError(f"the codec of {source} has no cells or no frame", "give both as positive numbers")
    if cells > _MOST_CELLS:
        raise CheckpointError(f"the codec of {source} has {cells} cells per side", f"take {_MOST_CELLS} at most")
    return Asking(Prompting(before, end), GridCodec(cells, frame))

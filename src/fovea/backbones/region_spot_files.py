"""Files of a trained RegionSpot head: a directory with its weights and what it was trained with; and conversion."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fovea.backbones.sam_tokens import known_token_kind
from fovea.backbones.sources import fingerprint, not_loaded, read_model
from fovea.errors import CheckpointError, ExpressionError
from fovea.files import write_atomically
from fovea.language.ensembles import Reduce, known_reduce, resolve_templates
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.networks.region_spot_weights import build_region_spot, needed_region_spot_weights
from fovea.networks.sam import TokenKind

#: What ``config.json`` calls such a head.
MODEL_TYPE = "region-spot"

# How :func:`fovea.backbones.sources.fingerprint` names weights.
_FINGERPRINT = re.compile("[0-9a-f]{32}")

_logger = logging.getLogger(__name__)

#: The SAM that released heads were trained with.
RELEASED_SAM = "facebook/sam-vit-base"


@dataclass(frozen=True)
class RegionSpotSettings:
    """What a head was trained with.

    Attributes:
        head: its sizes.
        clip: name or fingerprint of the CLIP; empty where nobody knows.
        clip_size: side of the CLIP's square input in pixels; 0 for the CLIP's own.
        sam: name or fingerprint of the SAM; empty where nobody knows.
        templates: sentences around names, with ``{}``.
        reduce: how the sentences of a name become one vector.
        names: the vocabulary that it was trained on; empty where nobody knows.
        antialias: whether pictures were made smaller without aliasing.
        positions: channels with positions behind CLIP's tokens; 0 for released heads.
        token_kind: where SAM's tokens are taken.
    """

    head: RegionSpotConfig
    clip: str = ""
    clip_size: int = 0
    sam: str = ""
    templates: tuple[str, ...] = resolve_templates("imagenet")
    reduce: Reduce = "raw_mean"
    names: tuple[str, ...] = ()
    antialias: bool = True
    positions: int = 0
    token_kind: TokenKind = "transformer"

    def to_json(self) -> dict[str, Any]:
        """As plain data, with the ensemble's name in place of its templates where it has one."""
        templates = "imagenet" if self.templates == resolve_templates("imagenet") else list(self.templates)
        return {"model_type": MODEL_TYPE, **asdict(self), "templates": templates, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: something is missing or makes no sense.
        """
        try:
            if data["model_type"] != MODEL_TYPE:
                raise CheckpointError(f"this is a {data['model_type']} model, not a RegionSpot", "name a RegionSpot")
            head = RegionSpotConfig(**data["head"])
            switches = ("class_token", "places")
            if not all(type(value) is (bool if key in switches else int) for key, value in asdict(head).items()):
                raise TypeError("sizes are no integers")
            size, names = data.get("clip_size", 0), data.get("names", [])
            if type(size) is not int or size < 0 or not all(isinstance(name, str) for name in names):
                raise TypeError("clip_size or names make no sense")
            positions = data.get("positions", 0)
            if type(positions) is not int or not 0 <= positions < head.clip_width or positions % 4:
                raise TypeError("positions are no multiple of 4 below the width")
            return cls(
                head,
                str(data.get("clip", "")),
                size,
                str(data.get("sam", "")),
                resolve_templates(data.get("templates", "imagenet")),
                known_reduce(data.get("reduce", "raw_mean")),
                tuple(names),
                bool(data.get("antialias", True)),
                positions,
                known_token_kind(data.get("token_kind", "transformer")),
            )
        except (KeyError, TypeError, ExpressionError) as error:
            raise CheckpointError(
                f"config.json describes no RegionSpot ({error})", "was it written by fovea?"
            ) from error

    def check_models(self, name: str, clip: str, sam: str) -> None:
        """Refuse other models than those of training: nothing of what they say would fit.

        Args:
            name: of the head, for the message.
            clip: where the CLIP comes from: a directory or a hub name; empty to pass over it.
            sam: likewise.

        Raises:
            CheckpointError: they are others.
        """
        for what, trained, given in (("CLIP", self.clip, clip), ("SAM", self.sam, sam)):
            if trained and given and not _fits(what, trained, given):
                raise CheckpointError(
                    f"{name} was trained with the {what} {trained}, and this one is {given}",
                    "name the right one with --models, or write into config.json what yours is called",
                )


def _fits(what: str, trained: str, given: str) -> bool:
    """Whether a source may be the model of that name, path or fingerprint.

    Copies keep the last part of their names, but for folders that are named after what they hold: those may be anyone's
    copy of a named model, which is said and left to the sizes.
    """
    if trained == given or trained == fingerprint(given) != "unknown":
        return True
    last, own = (name.rstrip("/").rsplit("/", 1)[-1].lower() for name in (trained, given))
    if own == what.lower() and not _FINGERPRINT.fullmatch(trained):
        _logger.warning("whether %s is the %s that the head was trained with, %s, cannot be told", given, what, trained)
        return True
    return own == last != what.lower()


def open_region_spot(source: str) -> tuple[RegionSpotHead, RegionSpotSettings, str]:
    """A head, its settings and what results call it.

    Args:
        source: a directory or a hub name.

    Raises:
        CheckpointError: it cannot be found or is no such head.
    """
    name = Path(source).name if Path(source).is_dir() else source
    try:
        data, state = read_model(source)
        settings = RegionSpotSettings.from_json(data)
        return build_region_spot(state, config=settings.head), settings, name
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error


def save_region_spot(head: RegionSpotHead, settings: RegionSpotSettings, directory: Path) -> None:
    """Write a head. The settings come last: a directory without them is taken for nothing.

    Raises:
        DataError: it cannot be written there.
    """
    from safetensors.torch import save

    state = {key: value.detach().contiguous().cpu() for key, value in head.state_dict().items()}
    write_atomically(directory / "model.safetensors", save(state, {"format": "pt"}))
    write_atomically(directory / "config.json", json.dumps(settings.to_json(), indent=1) + "\n")


def is_region_spot(content: Mapping[str, Any]) -> bool:
    """Whether a file of weights is one of RegionSpot's."""
    inner = content.get("model", content)
    return isinstance(inner, Mapping) and any("to_clip." in str(key) for key in inner)


def convert_region_spot(content: Mapping[str, Any], directory: Path, clip: str, clip_size: int) -> RegionSpotSettings:
    """Write a released head in the layout that fovea loads.

    The weights do not say which CLIP they belong to: those for 224 and for 336 pixels have the same shapes.

    Args:
        content: what the released file holds.
        directory: where the converted head goes.
        clip: the CLIP that it was trained with: a directory or a hub name. Its sizes are checked.
        clip_size: side of that CLIP's input in pixels, as trained.

    Returns:
        What was written into ``config.json``.

    Raises:
        CheckpointError: the file is no head of RegionSpot, or the CLIP is not the one it was trained with.
        DataError: the directory cannot be written.
    """
    head = build_region_spot(needed_region_spot_weights(content))
    try:
        _check_clip(head.config, clip, clip_size)
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(clip, error) from error
    # The released program made pictures smaller without a filter, in training as in use.
    settings = RegionSpotSettings(head.config, clip, clip_size, RELEASED_SAM, antialias=False)
    save_region_spot(head, settings, directory)
    return settings


def _check_clip(head: RegionSpotConfig, clip: str, size: int) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(clip)
    vision = getattr(config, "vision_config", None)
    if vision is None:
        raise CheckpointError(f"{clip} is a {config.model_type} model, not a CLIP", "name the CLIP of training")
    width, texts = int(vision.hidden_size), int(config.projection_dim)
    if (width, texts) != (head.clip_width, head.text_width):
        raise CheckpointError(
            f"this head belongs to a CLIP with tokens of {head.clip_width} and texts of {head.text_width} numbers, "
            f"and {clip} has {width} and {texts}",
            "name the CLIP that it was trained with",
        )
    if size < 1 or size % int(vision.patch_size):
        raise CheckpointError(
            f"{size} pixels cannot be divided into {clip}'s patches of {vision.patch_size}",
            "released heads have 224 or 336",
        )

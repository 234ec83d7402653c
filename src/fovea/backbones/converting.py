"""From released files to the directories that fovea reads: models, and what is trained beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.backbones.clip_resnet import RELEASED_TOKENIZER, ResnetFiles, load_tokenizer
from fovea.backbones.flamingo_converting import convert_flamingo, is_flamingo
from fovea.backbones.matching_loading import load_word_pieces
from fovea.backbones.peers import is_published_insert, published_insert
from fovea.backbones.region_spot_files import convert_region_spot, is_region_spot
from fovea.backbones.sources import not_loaded, read_model
from fovea.errors import CheckpointError
from fovea.files import directory_beside
from fovea.networks.albef_weights import build_albef, config_from_state, needed_weights
from fovea.networks.alpha_clip_weights import (
    TowerSizes,
    build_alpha_clip,
    has_texts,
    has_trained_alpha,
    save_alpha_clip,
    with_texts_of,
)
from fovea.networks.alpha_clip_weights import config_from_state as clip_config_from_state
from fovea.networks.checkpoint_files import read_checkpoint
from fovea.networks.openai_clip import weights_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPConfig

_PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        kind: what kind of model it is.
        notes: what the user should know about it.
        beside: models that have to be named with it.
        option: of the command line that takes it.
    """

    kind: str
    notes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    option: str = "--models"


def convert_checkpoint(
    checkpoint: str | Path,
    directory: str | Path,
    base: str | None = None,
    *,
    size: int | None = None,
    allow_pickle: bool = False,
) -> Converted:
    """Write a released file as a directory of safetensors, settings and tokenizer.

    Args:
        checkpoint: an Alpha-CLIP in any of its layouts, of both towers or of the picture tower alone, an ALBEF, a head
            of RegionSpot, an OpenFlamingo, or a positional insert.
        directory: where it goes; must not be there yet.
        base: for an Alpha-CLIP the CLIP that it was trained from: a directory, a hub name, or a file in OpenAI's
            layout. Its text tower joins a picture tower alone, its tokenizer any of them. By default the released one
            of these sizes. For an ALBEF a directory with its word pieces, beside the file or on the hub by default. For
            a RegionSpot the CLIP that it was trained with. For an OpenFlamingo its CLIP and its language model, with a
            comma between.
        size: side of that CLIP's input in pixels, for a RegionSpot.
        allow_pickle: whether files may be pickles. Only tensors and plain data are read from them.

    Raises:
        CheckpointError: it is no such file, is damaged, or does not fit its base.
        DataError: the directory is there already, or cannot be written.
    """
    content = read_checkpoint(Path(checkpoint), allow_pickle=allow_pickle, hint="add --pickle if you trust its source")
    if size is not None and not is_region_spot(content):
        raise CheckpointError("--size is of a RegionSpot, and this is none", "leave it out")
    with directory_beside(directory) as beside:
        if _is_albef(content):
            return _convert_albef(content, str(base or checkpoint), beside)
        if is_region_spot(content):
            return _convert_region_spot(content, base, size, beside)
        if is_flamingo(content):
            coverage = convert_flamingo(content, base, beside)
            _copy_preprocessor(str(base).partition(",")[0].strip(), beside)
            return Converted("OpenFlamingo", (str(coverage),))
        if is_published_insert(content):
            published_insert(content).save(beside)
            return Converted("positional insert for an OpenFlamingo", option="--peer")
        return _convert_alpha_clip(content, base, beside, allow_pickle)


def _convert_region_spot(content: Mapping[str, Any], clip: str | None, size: int | None, directory: Path) -> Converted:
    if clip is None or size is None:
        raise CheckpointError(
            "a head of RegionSpot does not say which CLIP it belongs to",
            "name it and its input, such as --base openai/clip-vit-large-patch14-336 --size 336",
        )
    settings = convert_region_spot(content, directory, clip, size)
    return Converted(f"RegionSpot for {clip} at {size} px", beside=(settings.clip, settings.sam))


def _is_albef(content: Mapping[str, Any]) -> bool:
    inner = content.get("model", content)
    return isinstance(inner, Mapping) and any(str(key).startswith("visual_encoder.") for key in inner)


def _convert_albef(content: Mapping[str, Any], words: str, directory: Path) -> Converted:
    from safetensors.torch import save_file

    state = needed_weights(content)
    config = config_from_state(state)
    weights = build_albef(config, state).state_dict()
    save_file({k: v.contiguous() for k, v in weights.items()}, directory / "model.safetensors", {"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config.to_json(), indent=2), encoding="utf-8")
    load_word_pieces(words).save(str(directory / "tokenizer.json"))
    return Converted("ALBEF")


@dataclass(frozen=True)
class _Base:
    """A CLIP that an Alpha-CLIP was trained from: weights, and sizes where its layout states them."""

    weights: dict[str, Tensor]
    config: CLIPConfig | None


def _convert_alpha_clip(content: Mapping[str, Any], base: str | None, directory: Path, allow_pickle: bool) -> Converted:
    state = weights_of(content)
    sizes = TowerSizes.of(state)
    name, usual = sizes.released or ("CLIP of its own sizes", "")
    if has_texts(state):
        config = clip_config_from_state(state)
        # All released models share one tokenizer.
        base = base or usual or RELEASED_TOKENIZER
    else:
        base = base or usual
        if not base:
            raise CheckpointError(
                "the file holds a picture tower alone, of sizes that no released CLIP has",
                "name the CLIP that it was trained from with --base",
            )
        found = _read_base(base, allow_pickle)
        state = with_texts_of(found.weights, state)
        config = found.config or clip_config_from_state(state)
    model = build_alpha_clip(config, state)
    save_alpha_clip(model, directory, _tokenizer(base, config))
    _copy_preprocessor(base, directory)
    notes = () if has_trained_alpha(model) else ("the file holds no alpha plane: the model ignores all masks",)
    return Converted(f"Alpha-CLIP, {name}, {sizes.image_size} px", notes)


def _read_base(base: str, allow_pickle: bool) -> _Base:
    if Path(base).is_file():
        hint = "add --pickle if you trust its source"
        return _Base(weights_of(read_checkpoint(Path(base), allow_pickle=allow_pickle, hint=hint)), None)
    from transformers import CLIPConfig

    try:
        settings, state = read_model(base)
        if settings.get("model_type") != "clip":
            raise CheckpointError(f"{base} is a {settings.get('model_type')} model, not a CLIP", "name a CLIP")
        return _Base(weights_of(state), CLIPConfig.from_pretrained(base))
    except CheckpointError:
        raise
    except Exception as error:
        # The hub client and transformers fail in a hundred ways; users need one line.
        raise not_loaded(base, error) from error


def _tokenizer(base: str, config: CLIPConfig) -> Any:
    from transformers import AutoTokenizer

    if Path(base).is_file():
        tokenizer = load_tokenizer(ResnetFiles(Path(base)))
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(base)
        except Exception as error:
            raise CheckpointError(
                f"{base} holds no tokenizer that can be read, or is not to be had",
                "name a CLIP with its tokenizer with --base, such as openai/clip-vit-base-patch16",
            ) from error
    if len(tokenizer) > config.text_config.vocab_size:
        raise CheckpointError(
            f"the tokenizer of {base} knows {len(tokenizer)} tokens and the model {config.text_config.vocab_size}",
            "name the CLIP that it was trained from with --base",
        )
    return tokenizer


def _copy_preprocessor(base: str, directory: Path) -> None:
    """How pixels are normalised, where the base says so; save_alpha_clip has written CLIP's usual way."""
    from transformers.utils import cached_file

    if Path(base).is_file():
        return
    try:
        found = cached_file(base, _PREPROCESSOR)
    except OSError:
        return
    if found is not None:
        shutil.copyfile(found, directory / _PREPROCESSOR)

"""What ``--models`` means: the embedded minis, a preset, a directory, or a name on the model hub."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_logger = logging.getLogger(__name__)

#: Where the embedded weights live.
MINIS = Path(__file__).parents[1] / "minis"


@dataclass(frozen=True)
class ModelSources:
    """Where the models of a grounder come from; each a directory or a hub name.

    Attributes:
        name: how results name them together.
        clips: CLIP models, whose scores are summed.
        sam: the segmenter.
        embedded: whether they are the minis, which know scenes and not photographs.
        captioner: a BLIP-2, for recipes that read captions.
    """

    name: str
    clips: tuple[str, ...]
    sam: str
    embedded: bool = False
    captioner: str = "Salesforce/blip2-opt-2.7b"


def _mini(name: str) -> str:
    return str(MINIS / name)


#: What ``--models`` knows by name.
PRESETS: dict[str, ModelSources] = {
    "mini": ModelSources("mini", (_mini("mini-clip-resnet"),), _mini("mini-sam"), embedded=True),
    "mini-vit": ModelSources("mini-vit", (_mini("mini-clip"),), _mini("mini-sam"), embedded=True),
    "mini-ensemble": ModelSources(
        "mini-ensemble", (_mini("mini-clip-resnet"), _mini("mini-clip")), _mini("mini-sam"), embedded=True
    ),
    "photo": ModelSources("photo", ("openai/clip-vit-large-patch14-336",), "facebook/sam-vit-huge"),
    "photo-small": ModelSources("photo-small", ("openai/clip-vit-base-patch32",), "facebook/sam-vit-base"),
}


def resolve_models(models: str) -> ModelSources:
    """Read the value of ``--models``.

    Args:
        models: a preset (``mini``, ``photo``, ...), or a comma-separated list of directories, files and hub names: CLIP
            models are summed, a SAM replaces the preset's. A directory may hold ``clip/``, ``sam/`` and ``captioner/``.
            What is not named comes from ``photo-small``.

    Raises:
        CheckpointError: nothing is named, or two segmenters.
    """
    if models in PRESETS:
        return PRESETS[models]
    items = [part.strip() for part in models.split(",") if part.strip()]
    if not items:
        raise CheckpointError(
            f"{models!r} names no model", f"known are {', '.join(PRESETS)}, directories and hub names"
        )
    clips: list[str] = []
    sams: list[str] = []
    for item in items:
        folder = Path(item)
        if (folder / "clip").is_dir():
            clips.append(str(folder / "clip"))
            if (folder / "sam").is_dir():
                sams.append(str(folder / "sam"))
        else:
            (sams if _is_sam(item) else clips).append(item)
    if len(sams) > 1:
        raise CheckpointError(f"{models!r} names more than one segmenter", "name one SAM")
    base = replace(PRESETS["photo-small"], name=models)
    captioners = [item for item in items if (Path(item) / "captioner").is_dir()]
    if captioners:
        base = replace(base, captioner=str(Path(captioners[0]) / "captioner"))
    return replace(base, clips=tuple(clips) or base.clips, sam=sams[0] if sams else base.sam)


def _is_sam(item: str) -> bool:
    """Whether a directory or hub name is a segmenter: by its configuration, else by its name."""
    config = Path(item) / "config.json"
    if config.is_file():
        return '"sam"' in config.read_text(encoding="utf-8", errors="replace")
    return item.rsplit("/", 1)[-1].startswith("sam")


def fingerprint(source: str) -> str:
    """Names the very weights and settings of a model, whatever its directory is called.

    Returns:
        The hub's own revision, or a hash of the weights and settings in a directory, or of a file of weights;
        ``unknown`` for a model that cannot be had.
    """
    place = Path(source)
    if not place.exists():
        return _revision(source)
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(place.iterdir()) if place.is_dir() else [place]:
        if path.suffix in (".safetensors", ".json"):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _revision(name: str) -> str:
    from transformers.utils import cached_file

    try:
        config = cached_file(name, "config.json")
    except OSError:
        return "unknown"
    # The cache keeps every revision in a folder of its name.
    return "unknown" if config is None else Path(config).parent.name


def read_model(source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of a directory or a hub name.

    Raises:
        CheckpointError: it holds no safetensors.
        OSError: a file cannot be had; says why.
    """
    from safetensors.torch import load_file

    folder = Path(source)
    if folder.is_dir():
        config, weights = folder / "config.json", sorted(folder.glob("model*.safetensors"))
    else:
        from transformers.utils import cached_file

        # Raises an OSError that says why where a file cannot be had.
        config, *weights = (Path(str(cached_file(source, name))) for name in ("config.json", "model.safetensors"))
    if not weights:
        raise CheckpointError(f"{source} holds no safetensors", "convert its weights, pickles are not read")
    state: dict[str, Tensor] = {}
    for path in weights:
        state |= load_file(path)
    return json.loads(config.read_text(encoding="utf-8")), state


def check_complete(source: str, missing: Iterable[str], unexpected: Iterable[str] = ()) -> None:
    """Refuse a checkpoint that lacks weights: transformers would go on with random ones in their place.

    Weights that the model has no place for only bring a warning: checkpoints of larger models hold them.

    Raises:
        CheckpointError: weights are missing.
    """
    lacking, needless = sorted(missing), sorted(unexpected)
    if lacking:
        raise CheckpointError(
            f"{source} lacks {len(lacking)} weights of the model, such as {lacking[0]}", "is it the whole model?"
        )
    if needless:
        _logger.warning("%s holds %d weights that are not used, such as %s", source, len(needless), needless[0])


def not_loaded(source: str, error: Exception) -> CheckpointError:
    """The one error for a model that cannot be had, with the first line of what the library says about it."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    if Path(source).exists():
        return CheckpointError(f"the model in {source} cannot be loaded: {reason}", "is it complete?")
    # What transformers says when a lookup on the hub fails; the rest happens to models that are here.
    if isinstance(error, OSError):
        return CheckpointError(
            f"the model {source} is not on this machine and not to be had from the model hub: {reason}",
            "check the name, or pass a directory to --models, or use --models mini",
        )
    return CheckpointError(f"the model {source} cannot be loaded: {reason}", "try a smaller one, or --models mini")

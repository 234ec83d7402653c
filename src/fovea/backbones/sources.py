"""What ``--models`` means: the embedded minis, a preset, a directory, or a name on the model hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fovea.errors import CheckpointError

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
    """

    name: str
    clips: tuple[str, ...]
    sam: str
    embedded: bool = False


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
        models: a preset (``mini``, ``photo``, ...), or a comma-separated list of directories and hub names: CLIP
            models are summed, a SAM replaces the preset's. A directory may hold ``clip/`` and ``sam/``. What is not
            named comes from ``photo-small``.

    Raises:
        CheckpointError: two segmenters are named.
    """
    if models in PRESETS:
        return PRESETS[models]
    clips: list[str] = []
    sams: list[str] = []
    for item in filter(None, (part.strip() for part in models.split(","))):
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
    return replace(base, clips=tuple(clips) or base.clips, sam=sams[0] if sams else base.sam)


def _is_sam(item: str) -> bool:
    """Whether a directory or hub name is a segmenter: by its configuration, else by its name."""
    config = Path(item) / "config.json"
    if config.is_file():
        return '"sam"' in config.read_text(encoding="utf-8", errors="replace")
    return item.rsplit("/", 1)[-1].startswith("sam")


def check_complete(source: str, missing: Iterable[str]) -> None:
    """Refuse a checkpoint that lacks weights: transformers would go on with random ones in their place.

    Raises:
        CheckpointError: weights are missing.
    """
    names = sorted(missing)
    if names:
        raise CheckpointError(
            f"{source} lacks {len(names)} weights of the model, such as {names[0]}", "is it the whole model?"
        )


def not_found(source: str, error: Exception) -> CheckpointError:
    """The one error for a model that cannot be had, whatever the library says about it."""
    if Path(source).is_dir():
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        return CheckpointError(f"the model in {source} cannot be loaded: {reason}", "is the directory complete?")
    return CheckpointError(
        f"the model {source} is not on this machine and no model hub can be reached",
        "download it elsewhere and pass its directory to --models, or use --models mini",
    )

"""What ``--models`` means: the embedded minis, a preset, a directory, or a name on the model hub."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fovea.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_logger = logging.getLogger(__name__)

#: Where the embedded weights live.
MINIS = Path(__file__).parents[1] / "minis"


#: The kinds of models.
Role = Literal["clip", "alpha", "sam", "matcher", "captioner", "mask2former", "diffusion", "region_spot", "vlm", "peer"]


@dataclass(frozen=True)
class ModelSources:
    """Where the models of a grounder come from; each a directory or a hub name.

    Attributes:
        name: how results name them together.
        clips: CLIP models, whose scores are summed.
        sam: the segmenter.
        embedded: whether they are the minis, which know scenes and not photographs.
        captioner: a BLIP-2 or a LLaVA, for recipes that read captions.
        mask2former: what proposes masks where SAM's grid is not to.
        diffusion: a Stable Diffusion, for recipes that ask where it would draw a thing.
        matcher: an ALBEF or a BLIP for image-text retrieval, for recipes that read heat maps; empty for none.
        alphas: CLIPs with an alpha plane, whose scores are summed; empty for none.
        region_spot: a trained head of RegionSpot, which belongs to one CLIP and one SAM; empty for none.
        vlm: a captioner that is asked where things are; empty for the one that writes captions.
        peer: what is trained beside it, such as a positional insert; empty for none.
    """

    name: str
    clips: tuple[str, ...]
    sam: str
    embedded: bool = False
    captioner: str = "Salesforce/blip2-opt-2.7b"
    mask2former: str = "facebook/mask2former-swin-large-coco-panoptic"
    diffusion: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    matcher: str = ""
    alphas: tuple[str, ...] = ()
    region_spot: str = ""
    vlm: str = ""
    peer: str = ""

    def of(self, role: Role) -> tuple[str, ...]:
        """The sources of one kind; empty where there is none."""
        if role in ("clip", "alpha"):
            return self.clips if role == "clip" else self.alphas
        if role == "vlm":
            return (self.vlm or self.captioner,)
        source: str = getattr(self, role)
        return (source,) if source else ()


def _mini(name: str) -> str:
    return str(MINIS / name)


def _minis(name: str, *clips: str) -> ModelSources:
    return ModelSources(
        name,
        tuple(map(_mini, clips)),
        _mini("mini-sam"),
        embedded=True,
        matcher=_mini("mini-itm"),
        alphas=(_mini("mini-alpha-clip"),),
        vlm=_mini("mini-vlm"),
        peer=_mini("mini-pin"),
    )


_BLIP = "Salesforce/blip-itm-base-coco"

#: What ``--models`` knows by name.
PRESETS: dict[str, ModelSources] = {
    "mini": replace(
        _minis("mini", "mini-clip-resnet"),
        region_spot=_mini("mini-region-spot"),
    ),
    "mini-vit": _minis("mini-vit", "mini-clip"),
    "mini-ensemble": _minis("mini-ensemble", "mini-clip-resnet", "mini-clip"),
    "photo": ModelSources("photo", ("openai/clip-vit-large-patch14-336",), "facebook/sam-vit-huge", matcher=_BLIP),
    "photo-small": ModelSources(
        "photo-small", ("openai/clip-vit-base-patch32",), "facebook/sam-vit-base", matcher=_BLIP
    ),
}


# Folders that a directory of several models may have, each with what stands in it.
_FOLDERS = {
    "clip": "CLIP",
    "alpha": "CLIP with an alpha plane",
    "sam": "segmenter",
    "matcher": "matching model",
    "captioner": "captioner",
    "mask2former": "Mask2Former",
    "diffusion": "Stable Diffusion",
    "region_spot": "RegionSpot",
    "vlm": "captioner to ask for boxes",
    "peer": "peer of a captioner",
}

# Of these there is one at most; CLIPs are summed.
_SINGLE = tuple(role for role in _FOLDERS if role not in ("clip", "alpha"))

# From the type that a configuration states to the folder of its kind; all others are CLIPs.
_KINDS = {
    "sam": "sam",
    "albef": "matcher",
    "blip": "matcher",
    "blip-2": "captioner",
    "region-spot": "region_spot",
    "llava": "captioner",
    "mask2former": "mask2former",
    "diffusion": "diffusion",
    "fovea-peer": "peer",
    # Those that write captions are asked for boxes as well.
    **dict.fromkeys(("flamingo", "idefics", "idefics2", "instructblip", "paligemma"), "vlm"),
}

# What a model of several folders, such as a Stable Diffusion, has instead of a config.json.
_INDEX = "model_index.json"

# From how names on the hub begin to such types.
_NAMES = {
    "sam": "sam",
    "blip2": "blip-2",
    "blip": "blip",
    "albef": "albef",
    "llava": "llava",
    "mask2former": "mask2former",
    "stable-diffusion": "diffusion",
    "region-spot": "region-spot",
    "regionspot": "region-spot",
}


def resolve_models(models: str) -> ModelSources:
    """Read the value of ``--models``.

    Args:
        models: a preset (``mini``, ``photo``, ...), or a comma-separated list of directories, files, hub names and
            embedded models (``mini-vlm``): CLIP models are summed, and so are CLIPs with an alpha plane, a SAM replaces
            the preset's, and so do an ALBEF or BLIP, a captioner, a diffusion model, a RegionSpot, a captioner to ask
            for boxes and its peer. A directory may hold ``clip/``, ``alpha/``, ``sam/``, ``matcher/``, ``captioner/``,
            ``diffusion/``, ``region-spot/``, ``vlm/`` and ``peer/``. What is not named comes from the preset in the
            list, and without one from ``photo-small``.

    Raises:
        CheckpointError: nothing is named, two models of a kind other than CLIP, or what was trained beside a captioner
            without that captioner.
    """
    if models in PRESETS:
        return PRESETS[models]
    parts = [part.strip() for part in models.split(",") if part.strip()]
    presets, items = [part for part in parts if part in PRESETS], [part for part in parts if part not in PRESETS]
    if len(presets) > 1:
        raise CheckpointError(f"{models!r} names more than one preset", "name one, and what replaces its models")
    if not items:
        raise CheckpointError(
            f"{models!r} names no model", f"known are {', '.join(PRESETS)}, directories and hub names"
        )
    named = _by_role(map(named_source, items))
    for role in _SINGLE:
        if len(named[role]) > 1:
            raise CheckpointError(f"{models!r} names more than one {_FOLDERS[role]}", "name one")
    base = PRESETS[presets[0]] if presets else PRESETS["photo-small"]
    single: dict[str, Any] = {role: named[role][0] for role in _SINGLE if named[role]}
    if named["vlm"] or named["captioner"]:
        # What the preset asks for boxes gives way, and what was trained beside it.
        single = {"vlm": "", "peer": "", **single}
    elif named["peer"] and not base.vlm:
        raise CheckpointError(
            f"{models!r} names what was trained beside a captioner, and no captioner", "name both, with a comma"
        )
    # What was not named is said, so that no result passes for one of other models.
    usual = [source for role in ("clip", "sam") if not (named[role] or presets) for source in base.of(role)]
    return replace(
        base,
        name=", ".join([models, *usual]),
        embedded=base.embedded and not (named["clip"] or named["sam"]),
        clips=tuple(named["clip"]) or base.clips,
        alphas=tuple(named["alpha"]) or base.alphas,
        **single,
    )


def _by_role(items: Iterable[str]) -> dict[str, list[str]]:
    """Directories, files and hub names by what they are; a directory of several models as its folders."""
    named: dict[str, list[str]] = {role: [] for role in _FOLDERS}
    for item in items:
        places = {role: [Path(item) / role, Path(item) / role.replace("_", "-")] for role in _FOLDERS}
        folders = {role: next(filter(Path.is_dir, some), None) for role, some in places.items()}
        for role, folder in folders.items():
            if folder is not None:
                named[role].append(str(folder))
        if not any(folders.values()):
            named[_role(item)].append(item)
    return named


def named_source(item: str) -> str:
    """A directory, file or hub name as it is; an embedded model, such as ``mini-vlm``, as its directory."""
    embedded = MINIS / item
    return str(embedded) if not Path(item).exists() and embedded.is_dir() and embedded.parent == MINIS else item


def _role(item: str) -> str:
    """What a directory, file or hub name is: by its configuration or weights, else by its name."""
    path, name = Path(item), item.rsplit("/", 1)[-1].lower()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise CheckpointError(
                f"{item} is no safetensors file, and pickles are not read here",
                "convert it: fovea convert FILE DIR --pickle",
            )
        return "matcher" if _is_albef(path) else "clip"
    if (path / _INDEX).is_file():
        return "diffusion"
    try:
        settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
        kind, alpha = settings["model_type"], settings.get("alpha") is True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kind = next((kind for start, kind in _NAMES.items() if name.startswith(start)), "clip")
        alpha = kind == "clip" and re.search("alpha.?clip", name) is not None
    return "alpha" if alpha else _KINDS.get(kind, "clip")


def _is_albef(weights: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, "pt") as file:
            return any(key.startswith("visual_encoder.") for key in file.keys())  # noqa: SIM118
    except SafetensorError:
        return False


def fingerprint(source: str) -> str:
    """Names the very weights and settings of a model, whatever its directory is called.

    Returns:
        The hub's own revision, or a hash of the weights and settings in a directory, or of a file of weights;
        ``unknown`` for a model that cannot be had.
    """
    place = Path(source)
    if place.exists():
        return _digest(place, lambda path: path.suffix in (".safetensors", ".json"))
    folder = _cached_folder(source)
    # The cache keeps every revision in a folder of its name.
    return "unknown" if folder is None else folder.name


def weights_fingerprint(source: str) -> str:
    """Names the very weights of a model and what they are put into, whatever else is said beside them of its use.

    Returns:
        A hash, the same for a name on the hub and for a copy of it; ``unknown`` for a model that cannot be had.
    """
    place = Path(source) if Path(source).exists() else _cached_folder(source)
    if place is None:
        return "unknown"
    return _digest(place, lambda path: path.suffix == ".safetensors" or path.name == "config.json")


def _digest(place: Path, counts: Callable[[Path], bool]) -> str:
    """A hash of the files that count, of a directory or of one file."""
    digest = hashlib.blake2b(digest_size=16)
    # Models of several parts have them in folders.
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if counts(path) and path.is_file():
            name = path.relative_to(place).as_posix() if place.is_dir() else path.name
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _cached_folder(name: str) -> Path | None:
    """Where a model of the hub lies on this machine."""
    from transformers.utils import cached_file

    for file in ("config.json", _INDEX):
        try:
            config = cached_file(name, file)
        except OSError:
            continue
        return None if config is None else Path(config).parent
    return None


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


# Numbers the models of a process: the id of a freed object comes again.
_loads = itertools.count()


def load_key(name: str, device: object, dtype: object) -> Hashable:
    """What names a loaded model in cache keys; it differs between two loads of one name."""
    return (name, str(device), str(dtype), next(_loads))


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

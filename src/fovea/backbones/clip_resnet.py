"""CLIP-ResNets from disk: our own directories, open_clip's, and bare files in OpenAI's layout.

The RN50x16 family exists in no Hugging Face class, so its files come in the layouts of their makers. All of them share
OpenAI's parameter names (:mod:`fovea.networks.clip_resnet`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from fovea.backbones.sources import check_complete
from fovea.errors import CheckpointError
from fovea.networks.clip_resnet import ClipResnet, ClipResnetConfig, config_from_state

_OWN, _OPEN_CLIP = "config.json", "open_clip_config.json"
#: The tokenizer that all released models of CLIP share.
RELEASED_TOKENIZER = "openai/clip-vit-base-patch32"
# A picture tower has this weight only where it is a modified ResNet.
_MARK = "visual.attnpool.positional_embedding"
# Numbers and masks that some files keep among the weights.
_NO_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})


@dataclass(frozen=True)
class ResnetFiles:
    """Where a CLIP-ResNet lies.

    Attributes:
        weights: a safetensors file.
        layout: the JSON file that describes it; None for a bare file.
    """

    weights: Path
    layout: Path | None = None

    @classmethod
    def own(cls, directory: Path) -> ResnetFiles:
        """Those of a directory that a training of ours has written."""
        return cls(directory / "model.safetensors", directory / _OWN)

    @property
    def directory(self) -> Path:
        """Where its tokenizer is looked for."""
        return self.weights.parent

    @property
    def name(self) -> str:
        """How results name it."""
        return self.weights.stem if self.layout is None and self.weights.stem != "model" else self.directory.name


def find_resnet(source: str) -> ResnetFiles | None:
    """The files of a CLIP-ResNet, or None where a source is something else.

    Args:
        source: a directory, a ``.safetensors`` file, or a hub name; open_clip's ResNets on the hub are called
            ``resnet...`` or ``RN...``, as ``timm/resnet50x16_clip.openai``.

    Raises:
        CheckpointError: an open_clip directory holds another kind of model, or no safetensors.
    """
    path = Path(source)
    if path.is_file():
        return ResnetFiles(path) if path.suffix == ".safetensors" and _is_resnet(path) else None
    if not path.is_dir():
        if not source.rsplit("/", 1)[-1].startswith(("resnet", "RN")):
            return None
        path = _download(source)
    if (path / _OWN).is_file() and _read(path / _OWN).get("model_type") == "clip_resnet":
        return ResnetFiles.own(path)
    if (path / _OPEN_CLIP).is_file():
        return _open_clip_files(path)
    weights = sorted(path.glob("*.safetensors"))
    bare = len(weights) == 1 and not (path / _OWN).exists() and _is_resnet(weights[0])
    return ResnetFiles(weights[0]) if bare else None


def _open_clip_files(directory: Path) -> ResnetFiles | None:
    if not isinstance(_read(directory / _OPEN_CLIP)["model_cfg"]["vision_cfg"].get("layers"), list):
        if (directory / _OWN).is_file():
            # The same folder serves transformers.
            return None
        raise CheckpointError(
            f"{directory} holds an open_clip model that is no ResNet", "name its transformers version"
        )
    found = [path for name in ("open_clip_model", "model") if (path := directory / f"{name}.safetensors").is_file()]
    if not found:
        raise CheckpointError(f"{directory} holds no open_clip_model.safetensors", "pickles are not read")
    return ResnetFiles(found[0], directory / _OPEN_CLIP)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.json", "open_clip_model.safetensors", "merges.txt"]))


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _is_resnet(weights: Path) -> bool:
    with safe_open(weights, "pt") as file:
        return _MARK in file.keys()  # noqa: SIM118 (it is no dictionary)


def load_clip_resnet(files: ResnetFiles) -> ClipResnet:
    """Read the network, in float32.

    Raises:
        CheckpointError: weights are missing, or a bare file leaves sizes open.
    """
    state = _cleaned(load_file(files.weights))
    model = ClipResnet(_config(files, state))
    missing, unexpected = model.load_state_dict(state, strict=False)
    # Counters of the training steps, which nothing reads.
    counters = ("num_batches_tracked",)
    check_complete(str(files.weights), (key for key in missing if not key.endswith(counters)), unexpected)
    return model


def _cleaned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights alone, in float32, under OpenAI's names; open_clip may put ``text.`` before those of the text tower."""
    renamed = {key.removeprefix("text."): value.float() for key, value in state.items()}
    return {key: value for key, value in renamed.items() if key not in _NO_WEIGHTS}


def _config(files: ResnetFiles, state: Mapping[str, Tensor]) -> ClipResnetConfig:
    """The sizes, from the description or, for all that it leaves open, from the weights."""
    if files.layout is not None and files.layout.name == _OWN:
        settings = _read(files.layout)
        settings.pop("model_type")
        return ClipResnetConfig(**{**settings, "layers": tuple(settings["layers"])})
    sizes = config_from_state(state)
    if files.layout is None:
        if sizes.text_width % 64:
            raise CheckpointError(
                f"{files.weights} does not say how many heads its text tower has", f"describe it in {_OPEN_CLIP}"
            )
        return sizes
    described = _read(files.layout)["model_cfg"]
    return replace(
        sizes,
        text_heads=int(described["text_cfg"].get("heads", sizes.text_heads)),
        quick_gelu=bool(described.get("quick_gelu", False)),
    )


def pixel_statistics(files: ResnetFiles) -> dict[str, Any]:
    """``mean`` and ``std`` of the pixels, where the description states them."""
    if files.layout is None:
        return {}
    stated = _read(files.layout).get("preprocess_cfg", {})
    return {key: stated[key] for key in ("mean", "std") if key in stated}


def load_tokenizer(files: ResnetFiles) -> Any:
    """The tokenizer beside the weights, or the one that all released models share.

    Raises:
        CheckpointError: there is none beside the weights, and the released one is not to be had.
    """
    # Classes are named where they are known: AutoTokenizer imports a configuration for every model that there is.
    from transformers import CLIPTokenizerFast, PreTrainedTokenizerFast

    if (files.directory / "tokenizer.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(files.directory)
        if tokenizer.pad_token is None:
            # The file alone names no padding. What stands behind the end token changes nothing, so 0 will do.
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
        return tokenizer
    if (files.directory / "vocab.json").is_file() and (files.directory / "merges.txt").is_file():
        return CLIPTokenizerFast.from_pretrained(files.directory)
    from transformers import AutoTokenizer

    try:
        # Not by the class: without the hub it makes up a tokenizer of two words.
        return AutoTokenizer.from_pretrained(RELEASED_TOKENIZER)
    except OSError as error:
        raise CheckpointError(
            f"{files.directory} holds no tokenizer and the released one is not on this machine",
            "put CLIP's tokenizer.json, or its vocab.json and merges.txt, beside the weights",
        ) from error

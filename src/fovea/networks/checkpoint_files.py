"""Files of weights as people have them: safetensors, pickles on request, and what only looks like a file of weights."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fovea.errors import CheckpointError

# What a failed download leaves behind, by how it begins.
_NO_WEIGHTS = {
    b"<!doctype html": "is a web page and no file of weights",
    b"<html": "is a web page and no file of weights",
    b"<?xml": "is an XML document and no file of weights",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file it points to",
}


def read_checkpoint(path: Path, *, allow_pickle: bool = False, hint: str = "convert it") -> dict[str, Any]:
    """The content of a file of weights.

    Args:
        path: a safetensors file, or a pickle.
        allow_pickle: whether it may be a pickle. Only tensors and plain data are read from it.
        hint: what to do about a pickle that may not be read.

    Returns:
        Tensors by name; of a pickle, whatever mapping it holds.

    Raises:
        CheckpointError: it is no such file, is damaged, or is a pickle and may not be.
    """
    _refuse_downloads(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if not allow_pickle:
        raise CheckpointError(f"{path.name} is no safetensors file, and pickles are only read on request", hint)
    return _read_pickle(path)


def _refuse_downloads(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    if not start:
        raise CheckpointError(f"{path.name} is empty", "download it again")
    for mark, what in _NO_WEIGHTS.items():
        if start.startswith(mark):
            raise CheckpointError(f"{path.name} {what}", "download it again, from a browser if need be")


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged ({error})", "download it again") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise CheckpointError(
                    f"{path.name} is a program of TorchScript, as OpenAI published its models",
                    "take the same model from the hub, such as openai/clip-vit-large-patch14",
                )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is damaged, or holds more than weights and plain data, which is not read",
            "download it again, or save its state dict alone",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} is damaged ({type(error).__name__})", "download it again") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name} holds no state dict", "save the state dict of the model")
    return dict(content)

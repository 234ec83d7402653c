"""``fovea doctor``: is everything here that fovea needs?"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fovea.backbones.sources import Role

NAME = "doctor"

_CORE = ("torch", "transformers", "tokenizers", "numpy", "pillow", "scipy", "safetensors", "pycocotools")
_EXTRAS = {
    "viz": "supervision",
    "train": "accelerate",
    "lvis": "faster-coco-eval",
    "parity": "opencv-python-headless",
    "diffusion": "diffusers",
}

# For the embedded models of each kind a recipe that asks them.
_ASKING: dict[Role, str] = {
    "clip": "fgvp",
    "alpha": "alpha-clip",
    "matcher": "iterprime",
    "region_spot": "region-spot",
    "peer": "pin",
}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run() -> None:
    """Check packages, devices and embedded models."""
    from fovea import __version__
    from fovea.backbones.sources import PRESETS

    problems = []
    typer.echo(f"fovea {__version__} on Python {sys.version.split()[0]}")
    for package in _CORE:
        found = _version(package)
        typer.echo(f"  {package} {found or 'is missing'}")
        if found is None:
            problems.append(f"{package} is missing: pip install {package}")
    for extra, package in _EXTRAS.items():
        found = _version(package)
        typer.echo(
            f"  {package} {found}"
            if found
            else f"  {package} not installed (optional): pip install -c constraints.txt -e '.[{extra}]'"
        )
    if not problems:
        # What follows needs all of them.
        _show_devices()
        problems = [problem for name, preset in PRESETS.items() if preset.embedded for problem in _check_mini(name)]
        _show_downloads()
    if problems:
        for problem in problems:
            typer.echo(f"problem: {problem}", err=True)
        raise typer.Exit(1)
    typer.echo("everything that fovea needs is here")


def _show_devices() -> None:
    import torch

    devices = ["cpu"] + [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    typer.echo(f"  devices: {', '.join(devices)}; {torch.get_num_threads()} threads")


def _check_mini(name: str) -> list[str]:
    """Load embedded models and ask each of them one question; returns what is wrong."""
    import numpy as np

    from fovea.backbones.models import Models
    from fovea.errors import FoveaError
    from fovea.recipes import load

    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = 255
    try:
        models = Models(name, device="cpu")
        for role, recipe in _ASKING.items():
            if models.sources.of(role):
                load(recipe, models).find(picture, "the object", boxes=[[16, 16, 48, 48]])
    except FoveaError as error:
        return [f"the embedded models {name} do not work: {error}"]
    typer.echo(f"  embedded models {name}: they load and answer")
    return []


def _show_downloads() -> None:
    from fovea.backbones.sources import PRESETS

    for preset in (one for one in PRESETS.values() if not one.embedded):
        missing = [name for name in (*preset.clips, preset.sam) if not _cached(name)]
        typer.echo(f"  models {preset.name}: " + (f"not downloaded: {', '.join(missing)}" if missing else "downloaded"))


def _cached(name: str) -> bool:
    """Whether a hub model is in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)

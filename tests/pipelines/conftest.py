"""Sources that the tests of the pipeline share."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fovea.scenes.scene import Scene, compose


def encoded(pixels: np.ndarray, kind: str = "JPEG", **settings: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue()


def grit_record(scene: Scene) -> bytes:
    """The scene's things by name, as GRIT writes them."""
    caption, rows = "", []
    for thing in scene.things:
        start = len(caption)
        caption += f"a {thing.name}, "
        rows.append([start, len(caption) - 2, *thing.box, 0.9])
    return json.dumps({"id": str(scene.seed), "caption": caption, "ref_exps": rows}).encode()


def _write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="session")
def write_shard() -> Callable[[Path, Iterable[tuple[str, bytes]]], Path]:
    """Writes a tar file of members by name."""
    return _write_shard


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return [compose(seed, 96) for seed in range(2_000_000, 2_000_006)]


@pytest.fixture(scope="session")
def grit_members(scenes: list[Scene]) -> list[tuple[str, bytes]]:
    return [
        member
        for scene in scenes
        for member in ((f"{scene.seed}.jpg", encoded(scene.pixels)), (f"{scene.seed}.json", grit_record(scene)))
    ]


@pytest.fixture(scope="session")
def class_folders(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of single things in folders of their names."""
    root = tmp_path_factory.mktemp("classes")
    for scene in (compose(2_000_001, 192), compose(2_000_004, 192)):
        for number, (thing, box) in enumerate(zip(scene.things, scene.boxes, strict=True)):
            folder = root / thing.name.replace(" ", "_")
            folder.mkdir(exist_ok=True)
            x1, y1, x2, y2 = np.array([box[0] - 12, box[1] - 12, box[2] + 12, box[3] + 12]).clip(0, 192).astype(int)
            (folder / f"{scene.seed}-{number}.JPEG").write_bytes(encoded(scene.pixels[y1:y2, x1:x2]))
    return root


def _files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """All files of an output by name."""
    return _files_of

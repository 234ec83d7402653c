"""Writing files so that nothing half-written is ever visible."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fovea.errors import DataError


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write a file beside its place and rename it, making folders on the way.

    Links stay links: what they point to is written. An existing file keeps its mode. What exists but is no regular
    file, such as ``/dev/stdout`` or a named pipe, cannot be replaced and is written to directly.

    Args:
        path: where it goes.
        data: bytes, or text that is written as UTF-8.

    Returns:
        The path.

    Raises:
        DataError: it cannot be written there.
    """
    target = Path(path)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(payload)
        else:
            _replace(Path(os.path.realpath(target)), payload)
    except (OSError, ValueError) as error:
        # Python refuses a zero byte in a path with a ValueError, before the system is asked.
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(target)!r} cannot be written ({reason})", "choose another place") from error
    return target


def _replace(place: Path, payload: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # A plain open gives new files the mode that the user's mask asks for.
        with beside.open("xb") as file:
            if place.exists():
                beside.chmod(stat.S_IMODE(place.stat().st_mode))
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def directory_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new directory beside its place, which is moved there when all is in it; after an error nothing is left.

    Args:
        path: where it goes: there is nothing, or an empty directory.

    Raises:
        DataError: something is there already, or it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(f"{str(path)!r} is there already", "name a new directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{secrets.token_hex(8)}.part")
        beside.mkdir()
        try:
            yield beside
            # An empty directory gives way.
            beside.replace(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written ({error.strerror})", "choose another place") from error


def content_hash(*paths: Path) -> str:
    """A hash of the content of files, whatever they are called.

    Raises:
        DataError: one cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where things are kept that can be computed again: ``FOVEA_CACHE``, or a folder in the user's cache."""
    if named := os.environ.get("FOVEA_CACHE"):
        return Path(named).expanduser()
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "fovea"
    usual = home / "AppData" / "Local" if os.name == "nt" else home / ".cache"
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(base) if base else usual) / "fovea"

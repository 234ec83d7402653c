"""Writing files so that nothing half-written is ever visible."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fovea.errors import DataError


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write a file beside its place and rename it, making folders on the way.

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
    beside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is private; the result should follow the user's own mask.
        umask = os.umask(0)
        os.umask(umask)
        Path(beside).chmod(0o666 & ~umask)
        Path(beside).replace(target)
    except OSError as error:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
        raise DataError(f"{target} cannot be written ({error.strerror})", "choose another place") from error
    return target

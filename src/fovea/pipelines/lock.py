"""One run per folder: a lock that ends with the last process of the run, however that process ends."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fovea.errors import DataError

try:
    import fcntl
except ImportError:
    # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

# The workers of a killed run live on for a moment.
_PATIENCE = 20.0

_logger = logging.getLogger(__name__)


class RunLock:
    """Held from the beginning to the end of a run. Sent to a worker process it is held there too.

    Runs of other shares of the same work (``--shard``) go on beside this one, if they cut it into as many shares.

    Args:
        directory: of the output; its folder ``.locks`` receives a file.
        share: which share of the work this is, from 1 on.
        shares: how many there are.

    Raises:
        DataError: another run is at work there.
    """

    def __init__(self, directory: Path, share: int, shares: int) -> None:
        folder = directory / ".locks"
        mine = folder / f"{share}-of-{shares}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(mine, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DataError(f"{directory} cannot be written ({error.strerror})", "choose another folder") from error
        try:
            _take(self._descriptor, directory)
            for other in sorted(folder.iterdir()):
                if not other.name.endswith(f"-of-{shares}"):
                    descriptor = os.open(other, os.O_RDWR)
                    _take(descriptor, directory, shared=True)
                    os.close(descriptor)
        except DataError:
            self.release()
            raise

    def release(self) -> None:
        """End it in this process."""
        os.close(self._descriptor)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if fcntl is None:
            # Nothing is locked, and nothing needs to be held.
            return int, ()
        from multiprocessing import reduction

        # The same open file in another process: the lock ends when all have closed it.
        return _adopt, (reduction.DupFd(self._descriptor),)


def _adopt(handle: Any) -> int:
    return int(handle.detach())


def _take(descriptor: int, directory: Path, shared: bool = False) -> None:
    if fcntl is None:
        _warn(directory, "this system has no such locks")
        return
    kind, end = fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise DataError(
                    f"another run is writing to {directory}", "wait for it, or choose another folder"
                ) from None
            time.sleep(0.1)
        except OSError as error:
            _warn(directory, error.strerror)
            return


def _warn(directory: Path, reason: str | None) -> None:
    _logger.warning("%s cannot be locked (%s): start no second run there", directory, reason)

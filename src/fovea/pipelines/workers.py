"""What runs on one or several processes share: threads, the end of the parent, and errors that end a run."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fovea.errors import CheckpointError, DataError, FoveaError


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums come out the same only where they are cut the same: more processors are used by more workers."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def begin_worker() -> None:
    """In a worker process: work with one thread, and end with the process that began it.

    Models are better loaded with the first unit: errors of a process that only begins reach nobody.
    """
    import torch

    torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """End this worker process with the one that began it.

    A run that was killed must not go on in its workers: the next one may have begun.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def ended_from_outside() -> DataError:
    """The error of a pool that has lost a process."""
    return DataError("a worker was ended from outside", "is memory short? try fewer --workers")


def ending_errors() -> tuple[type[Exception], ...]:
    """Errors that are no fault of a picture: they end the run, so that the next one makes the unit again.

    Behind an error of the accelerator itself every picture would fail.
    """
    import torch

    # Not all versions that fovea works with have the last one.
    accelerator: type[Exception] = getattr(torch, "AcceleratorError", torch.OutOfMemoryError)
    return CheckpointError, MemoryError, torch.OutOfMemoryError, accelerator


def reason_of(error: Exception) -> str:
    """Why a picture failed, in one line, of at most 300 characters where nobody foresaw it.

    Data from outside fail in ways that nobody foresees; one picture is not worth a night's run.

    Raises:
        Exception: the error itself, where it is no fault of the picture (:func:`ending_errors`).
    """
    if isinstance(error, ending_errors()):
        raise error
    if isinstance(error, FoveaError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

"""The lock where the system has none."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import sys
from pathlib import Path

import pytest

from fovea.pipelines import lock


def test_a_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As Windows has it: there is no such module to import.
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("fovea_lock_elsewhere", lock.__file__)
    assert spec is not None
    assert spec.loader is not None
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)
    with caplog.at_level(logging.WARNING):
        first, second = elsewhere.RunLock(tmp_path, 1, 1), elsewhere.RunLock(tmp_path, 1, 1)
    assert "cannot be locked" in caplog.text
    # Workers are sent it all the same.
    pickle.loads(pickle.dumps(first))
    first.release()
    second.release()

"""Pickles: plain data of any protocol is read, everything else is refused before it does anything."""

from __future__ import annotations

import collections
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from fovea.datasets.plain_pickle import load_plain_pickle
from fovea.errors import DataError

PLAIN = [
    {"ref_id": 1, "split": "testA", "sent_ids": [0, 1], "sentences": [{"sent": "the café", "tokens": ["the", "café"]}]},
    {"a": None, "b": True, "c": False, "d": -7, "e": 1 << 70, "f": 0.5, "g": [], "h": {}, "i": "x" * 300, "j": 70_000},
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read(protocol: int) -> None:
    shared = ["said twice"]
    data = [*PLAIN, shared, shared]
    assert load_plain_pickle(pickle.dumps(data, protocol), "x.p") == data


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_tuples_are_read_as_lists(protocol: int) -> None:
    data = [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    assert load_plain_pickle(pickle.dumps(data, protocol), "x.p") == [list(one) for one in data]


def test_strings_of_python_2_are_latin_1() -> None:
    assert load_plain_pickle(b"(lp0\nS'caf\\xe9'\np1\naI3\naL4L\naF0.5\na.", "x.p") == ["caf\xe9", 3, 4, 0.5]


class Runs:
    def __init__(self, function: Any, argument: Any) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    data = [{"sent": Runs(os.mkdir, str(trace))}]
    with pytest.raises(DataError, match=r"refs\.p is refused.*could run code") as caught:
        load_plain_pickle(pickle.dumps(data, protocol), "refs.p")
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"Pdatabase row\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        pickle.dumps(collections.OrderedDict(a=1)),
        pickle.dumps({1, 2}, 4),
        pickle.dumps(b"bytes", 4),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="refused"):
        load_plain_pickle(data, "x.p")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        b"\x80\x09.",
        b"]",
        b"]q\x00",
        b"g5\n.",
        b".",
        b"}]K\x01s.",
        b"I" + b"9" * 5000 + b"\n.",
        b"X\xff\xff\xff\x7fabc.",
        pickle.dumps(PLAIN)[:-20],
        b")" + b"\x85" * 100_000 + b"}" + b"2K\x01s.",
    ],
)
def test_what_is_damaged_is_said_so(data: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.p is (damaged|refused)"):
        load_plain_pickle(data, "x.p")


def test_claims_of_size_cost_nothing() -> None:
    assert load_plain_pickle(b"]r\xff\xff\xff\xff.", "x.p") == []
    assert load_plain_pickle(b"]p99999999999999\n.", "x.p") == []


def test_deep_tuples_as_keys_do_not_break_the_interpreter() -> None:
    with pytest.raises(DataError, match="damaged: TypeError"):
        load_plain_pickle(b"})" + b"\x85" * 300_000 + b"K\x01s.", "x.p")

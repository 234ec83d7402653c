"""Pickles that hold data and nothing else: whatever could call or build an object is refused before it happens."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from fovea.errors import DataError

# Numbers, strings, lists and mappings, what they are remembered by, and the frame around all. No other instruction is
# known: nothing is imported, called, looked up or allocated in advance.
_PLAIN = (
    *("MARK", "STOP", "PROTO", "FRAME", "POP", "POP_MARK"),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
)

_Instruction = Callable[[Any], None]


class _NotPlainError(pickle.UnpicklingError):
    """An instruction that plain data do not need."""


class _Instructions(dict[int, _Instruction]):
    def __missing__(self, code: int) -> _Instruction:
        raise _NotPlainError(f"instruction {code}")


def _list_of(count: int) -> _Instruction:
    """Tuples are read as lists: as keys of mappings, deeply nested ones would break the interpreter."""

    def build(reader: Any) -> None:
        reader.stack[-count:] = [reader.stack[-count:]]

    return build


def _instructions() -> _Instructions:
    # Python's own reader, since the one in C makes room for as many remembered objects as a file claims to have.
    known: dict[int, _Instruction] = pickle._Unpickler.dispatch
    codes = {name: getattr(pickle, name)[0] for name in (*_PLAIN, "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")}
    allowed = _Instructions({codes[name]: known[codes[name]] for name in _PLAIN})
    allowed[codes["TUPLE"]] = allowed[codes["LIST"]]
    allowed[codes["EMPTY_TUPLE"]] = allowed[codes["EMPTY_LIST"]]
    allowed.update({codes[f"TUPLE{count}"]: _list_of(count) for count in (1, 2, 3)})
    return allowed


class _PlainUnpickler(pickle._Unpickler):
    dispatch = _instructions()


def load_plain_pickle(data: bytes, name: str) -> Any:
    """Read a pickle of plain data, also of Python 2.

    Args:
        data: the file's bytes.
        name: of the file, for errors.

    Returns:
        Lists, mappings, numbers, strings, booleans and None. Strings of Python 2 are read as Latin-1; tuples as lists.

    Raises:
        DataError: it is no pickle, it is damaged, or it holds anything else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _NotPlainError as error:
        raise DataError(
            f"{name} is refused: it holds more than lists, mappings, numbers and strings, and could run code",
            "get it from its publisher again",
        ) from error
    except Exception as error:
        # A damaged file makes the reader fail in any way.
        raise DataError(f"{name} is damaged: {type(error).__name__}", "get it from its publisher again") from error

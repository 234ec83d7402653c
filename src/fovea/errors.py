"""Errors that a user can mend: one line that says what is wrong and what to do."""

from __future__ import annotations


class FoveaError(Exception):
    """Base of all errors that fovea raises on purpose.

    Args:
        message: what is wrong, without a full stop.
        hint: what to do about it; empty where the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message, hint)

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return " ".join(text.split())


class PictureError(FoveaError):
    """A picture cannot be opened."""


class RegionError(FoveaError):
    """Boxes, masks or points make no sense."""


class ExpressionError(FoveaError):
    """An expression, a label or a style makes no sense."""


class CheckpointError(FoveaError):
    """A model cannot be found or does not fit."""


class DataError(FoveaError):
    """A data file cannot be read or written."""


class MissingPictureError(DataError):
    """A picture that annotations name is not in its folder."""


class MissingExtraError(FoveaError):
    """An optional package is not installed.

    Args:
        what: what needs it.
        extra: the name of fovea's extra that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional package",
            f"in fovea's folder run: pip install -c constraints.txt -e '.[{extra}]'",
        )

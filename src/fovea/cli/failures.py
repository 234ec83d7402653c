"""How commands end when some of their inputs failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

#: The exit status where some inputs failed.
PARTLY = 3

# Failed pictures that are named one by one.
_NAMED = 5


def say_failed(failed: Sequence[Mapping[str, str]]) -> None:
    """Name the pictures that failed, the first ones with the reason, and end the command where there are some.

    Pictures fail whoever looks at them: of several results those of one will do.

    Args:
        failed: each with ``key`` and ``reason``.

    Raises:
        Exit: some failed, with status ``PARTLY``.
    """
    for one in failed[:_NAMED]:
        typer.echo(f"skipped {one['key']}: {one['reason']}", err=True)
    if len(failed) > _NAMED:
        typer.echo(f"skipped {len(failed) - _NAMED} more pictures; --json names them", err=True)
    if failed:
        raise typer.Exit(PARTLY)

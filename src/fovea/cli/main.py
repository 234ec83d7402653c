"""``fovea``: the commands, and what becomes of their errors."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Annotated

import typer

from fovea import __version__
from fovea.cli import audit, data_tokens, doctor, evaluate, find, label, mark, recipes, scenes, train
from fovea.errors import FoveaError

app = typer.Typer(
    name="fovea",
    help="Look at a place in a picture, or point at one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (find, label, mark, scenes, evaluate, train, recipes, doctor):
    app.command(command.NAME)(command.run)
app.add_typer(audit.app, name=audit.NAME)
# MERGE: a command of cli/data.py.
data = typer.Typer(no_args_is_help=True, help="Make training data from data.")
data.callback()(lambda: None)
data.command(data_tokens.NAME)(data_tokens.run)
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fovea {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
) -> None:
    # Progress and logs go to standard error: standard output belongs to the answer.
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not verbose:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def main() -> None:
    """Run a command; a user's error becomes one line and exit status 1."""
    # Most of a cold start is imports, whose objects stay: looking among them for garbage every 700 is in vain.
    gc.set_threshold(50_000)
    try:
        app()
    except FoveaError as error:
        typer.echo(f"fovea: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

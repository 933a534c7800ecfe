"""``wherry version``."""

from __future__ import annotations

import sys
from typing import Any

import typer  # noqa: TC002 - typer reads annotations when it runs

from wherry.version import __version__
from wherry_cli.command import single
from wherry_cli.invocation import Invocation


def version(ctx: typer.Context) -> None:
    """Print the version."""
    print_version(Invocation.of(ctx))


def print_version(run: Invocation) -> None:
    """Prints the version of wherry; with -v also of Python."""
    out = run.out()
    python = ".".join(str(part) for part in sys.version_info[:3])
    if out.as_json:
        out.result({"schema": "wherry/version/1", "version": __version__, "python": python, "platform": sys.platform})
    elif out.quiet:
        out.line(__version__)
    else:
        out.line(f"wherry {__version__}" + (f" (Python {python}, {sys.platform})" if run.verbose else ""))


def build() -> Any:
    """Makes the command."""
    return single(version, "wherry version", "wherry version --json")

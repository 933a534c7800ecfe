"""``wherry bench``: the door to the benchmarks, which are imported only when they run."""

from __future__ import annotations

import importlib
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import Annotated, Any

import typer

from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import size


def bench(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; none: all of them.")] = None,
    *,
    size_bytes: Annotated[
        int | None, typer.Option("--size", metavar="SIZE", parser=size, help="Bytes to move, where a benchmark has a choice.")
    ] = None,
    directory: Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="Where to put what is moved.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Name the benchmarks and stop.")] = False,
) -> None:
    """Measure wherry on this machine beside a reference.

    Each figure is a ratio to a plain tool, measured in the same run, so that it can be repeated anywhere.
    """
    benchmarks: Any = importlib.import_module("wherry_cli.bench")
    benchmarks.run(Invocation.of(ctx), names=names or [], size_bytes=size_bytes, directory=directory, show_list=show_list)


def build() -> Any:
    """Makes the command."""
    return single(bench, "wherry bench --list", "wherry bench add get --size 4GiB --dir /var/tmp", "wherry bench --json")

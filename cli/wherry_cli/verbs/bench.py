"""``wherry bench``: the door to the benchmarks, which are imported only when they run."""

from __future__ import annotations

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
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where to put what is moved; removed at the end.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Sizes that take about two minutes, less than the bounds are stated for.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", parser=int, help="How often to run each thing; 3 if not said.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Name the benchmarks and stop.")] = False,
) -> None:
    """Measure wherry on this machine beside a reference.

    Each figure is held against a plain tool that runs in turn with wherry, so that it can be repeated anywhere. Every
    run is printed. A bound that is not met is said, and is no error.
    """
    from wherry_cli.bench import run as run_benchmarks

    run_benchmarks(
        Invocation.of(ctx),
        names=names or [],
        size_bytes=size_bytes,
        directory=directory,
        show_list=show_list,
        quick=quick,
        rounds=rounds,
    )


def build() -> Any:
    """Makes the command."""
    return single(
        bench,
        "wherry bench --list",
        "wherry bench --quick",
        "wherry bench add-large get-large --dir /var/tmp",
        "wherry bench synth --size 10GiB --json",
    )

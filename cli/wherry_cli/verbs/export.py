"""``wherry export``: what this home holds as one file that other tools read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.car_results import ExportResult


def export(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="CID[/PATH]", help="What to export: native or UnixFS; this home has to hold it.")
    ],
    *,
    car: Annotated[str, typer.Option("--car", metavar="FILE", help="Write a CAR of version 1; - is standard output.")],
    scope: Annotated[
        Literal["all", "entity", "block"],
        typer.Option("--scope", help="All below it; a file, or the listing of a directory; or its block alone."),
    ] = "all",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Write what a CID names as a CAR, which every IPFS tool reads.

    Blocks come in depth-first order, each once, and those that prove the path first.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("export") as session:
            with run.watcher() as watcher:
                result = await session.export_car(what, car, scope=scope, force=force, observe=watcher)
        show(run.out(), result)

    run.drive(work, kept="the file was not made")


def show(out: Out, result: ExportResult) -> None:
    """Prints what was written, if it was not written to standard output."""
    if result.path == "-":
        return
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        taken = format_duration(result.seconds)
        out.line(f"{safe(result.path)}: {result.blocks:,} blocks, {format_size(result.bytes)} in {taken}")


def build() -> Any:
    """Makes the command."""
    return single(export, "wherry export bafy... --car dataset.car", "wherry export bafy.../file --car file.car --scope entity")

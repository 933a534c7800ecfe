"""``wherry repair``: the index is rebuilt, and what cannot be trusted is dropped. It needs the home for itself."""

from __future__ import annotations

from typing import Any

import typer  # noqa: TC002 - typer reads annotations when it runs

from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe


def repair(ctx: typer.Context) -> None:
    """Check the home and rebuild what can be rebuilt.

    Nothing else may use the home meanwhile. Your own files are read, never written.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("repair") as session:
            with run.watcher() as watcher:
                result = await session.repair(observe=watcher)
        show(run.out(), result.to_json())

    run.drive(work, kept="the home is as it was, or partly mended: run the same command again")


def show(out: Out, fields: dict[str, Any]) -> None:
    """Prints a line a figure."""
    if out.as_json:
        out.result(fields)
        return
    if out.quiet:
        return
    for key, value in fields.items():
        if key == "schema":
            continue
        lines = value if isinstance(value, (list, tuple)) else [value]
        for each in lines:
            out.line(f"{key.replace('_', ' ')}: {safe(str(each))}")


def build() -> Any:
    """Makes the command."""
    return single(repair, "wherry repair", "wherry repair --home /data/wherry")

"""``wherry repair``: the index is rebuilt, and what cannot be trusted is dropped. It needs the home for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import VerifyFailed
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.results import RepairResult


def repair(
    ctx: typer.Context,
    *,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Forget also what is not there now, or cannot be read.")
    ] = False,
) -> None:
    """Check the home and rebuild what can be rebuilt.

    Nothing else may use the home meanwhile. Your own files are read, never written. The exit code is 11 if files have
    changed, so that their dataset is dropped from the list, or are missing: a disk that is not mounted, most of all.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("repair") as session:
            with run.watcher() as watcher:
                result = await session.repair(drop_missing=drop_missing, observe=watcher)
        show(run.out(), result)

    run.drive(work, kept="what the home knew stays in force until a repair is done: run the same command again")


def show(out: Out, result: RepairResult) -> None:
    """Prints a line a figure. Raises VerifyFailed if anything was dropped, or is missing."""
    fields = result.to_json()
    if out.as_json:
        out.result(fields)
    elif not out.quiet:
        for key, value in fields.items():
            if key == "schema":
                continue
            lines = value if isinstance(value, (list, tuple)) else [value]
            for each in lines:
                out.line(f"{key.replace('_', ' ')}: {safe(str(each))}")
    dropped, missing = len(result.dropped), len(result.missing)
    if missing:
        hint = "mount or restore what is missing and run this again; `wherry repair --drop-missing` forgets it"
        also = f", and {dropped:,} dropped" if dropped else ""
        raise VerifyFailed(f"of {result.roots:,} roots {missing:,} could not be read{also}", hint=hint)
    if dropped:
        hint = "they are no longer what they were: `wherry add` what is still wanted"
        raise VerifyFailed(f"of {result.roots:,} roots {dropped:,} were dropped", hint=hint)


def build() -> Any:
    """Makes the command."""
    return single(repair, "wherry repair", "wherry repair --home /data/wherry")

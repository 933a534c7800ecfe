"""``wherry import``: the blocks of a CAR into the home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import BlockNotFound, CIDError, DecodeError
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.car_results import ImportResult, RootImported


def import_(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="FILE...", help="CARs, version 1 or 2; - is standard input.")],
) -> None:
    """Take in the blocks of CARs, verified.

    Roots below which nothing is missing are then served, read and kept like what was added. Of others the blocks stay, and
    the exit code is 6; 5 if a block below one is malformed, or named by another hash than sha2-256.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        incomplete = []
        taken: list[tuple[str, ImportResult]] = []
        try:
            async with run.session("import") as session:
                for path in paths:
                    with run.watcher() as watcher:
                        result = await session.import_car(path, observe=watcher)
                    taken.append((path, result))
                    if not run.json:
                        show(run.out(), result)
                    incomplete += [root for root in result.roots if not root.complete]
        finally:  # what came before an error is kept, and said
            if run.json and taken:
                show_json(run.out(), taken, one=len(paths) == 1)
        refuse(incomplete)

    run.drive(work, kept="what was read is kept: the same command goes on from it")


def refuse(incomplete: list[RootImported]) -> None:
    """Raises what says that roots cannot be used. What is malformed, or unsupported, goes first: no other CAR mends it."""
    malformed = [root for root in incomplete if root.malformed]
    unsupported = [root for root in incomplete if root.unsupported]
    count = len(malformed or unsupported or incomplete)
    what = f"{count} root{'' if count == 1 else 's'} cannot be used"
    if malformed:
        hint = "whoever made the CAR wrote blocks that are none; get the data from somebody else, or made anew"
        raise DecodeError(f"{what}: a block below is malformed", hint=hint)
    if unsupported:
        hint = "add the data again with sha2-256 where it comes from"
        raise CIDError(f"{what}: a block below is named by another hash than sha2-256, the one that wherry keeps", hint=hint)
    if incomplete:
        hint = "import the CAR that has the rest, or `wherry get` it from somebody who has all"
        raise BlockNotFound(f"{what}: something is missing below", hint=hint)


def _state(root: RootImported) -> str:
    return "malformed" if root.malformed else "unsupported" if root.unsupported else "incomplete"


def show(out: Out, result: ImportResult) -> None:
    """Prints a line a root; with --quiet the CIDs alone."""
    for root in result.roots:
        if out.quiet:
            out.line(root.cid)
        elif root.complete:
            out.line(f"{root.cid}  complete")
        else:
            out.line(f"{root.cid}  {_state(root)}: {safe(root.missing or '')}")
    if out.quiet:
        return
    for text in result.skipped:
        out.say(f"left out: {safe(text)}")
    if result.more_skipped:
        out.say(f"... and {result.more_skipped:,} more")
    new = f"{result.new_blocks:,} new" if result.new_blocks else "none new"
    taken = f"{format_size(result.bytes)} in {format_duration(result.seconds)}"
    out.line(f"{result.blocks:,} block{'' if result.blocks == 1 else 's'}, {new}; {taken}")


def show_json(out: Out, taken: list[tuple[str, ImportResult]], *, one: bool) -> None:
    """Prints one object: that of the one CAR that was asked for, or a list of as many as were taken in, by their paths."""
    if one:
        out.result(taken[0][1].to_json())
        return
    each = [
        {"path": path, **{key: value for key, value in result.to_json().items() if key != "schema"}} for path, result in taken
    ]
    out.result({"schema": "wherry/imports/1", "imports": each})


def build() -> Any:
    """Makes the command."""
    return single(import_, "wherry import dataset.car", "wherry import first.car second.car")

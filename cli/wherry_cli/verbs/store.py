"""``wherry store``: what this home knows, how much of it is unique, and what lies in several places."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.results import EqualFiles
from wherry.units import format_size
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import size
from wherry_cli.render import Out, many, safe, to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.results import CutStat, SharedBytes, StoreStat

HELP = """Show what this home knows, and what of it is there twice.

None of your files is read or changed: it is told from what wherry wrote down when it read them."""


def stat(ctx: typer.Context) -> None:
    """Show how many bytes this home knows, how many are unique, and what it keeps itself."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("store") as session:
            show_stat(run.out(), await session.store_stat())

    run.drive(work)


def dups(
    ctx: typer.Context,
    *,
    min_bytes: Annotated[
        int, typer.Option("--min-bytes", metavar="SIZE", parser=size, help="Leave out files and sums that are smaller.")
    ] = 1,
) -> None:
    """List files that are equal, and files that share leaves.

    Those come first that matter most. Files that have changed since they were read are left out. Of each leaf few places
    are kept, so that more may be shared than is shown.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("store") as session, aclosing(session.duplicates(min_bytes=min_bytes)) as found:
            await (write_json if run.json else write_lines)(run.out(), found)

    run.drive(work)


def show_stat(out: Out, found: StoreStat) -> None:
    """Prints a line a property, then a line for each way of cutting; with --quiet the unique bytes alone."""
    if out.as_json:
        out.result(found.to_json())
        return
    if out.quiet:
        out.line(str(found.unique_bytes))
        return
    out.line(f"logical  {_bytes(found.bytes)} in {many(found.files, 'file')}")
    out.line(f"unique   {_bytes(found.unique_bytes)} in {many(found.leaves, 'leaf', 'leaves')}; saved {found.saved:.1%}")
    out.line(f"stored   {_bytes(found.stored_bytes)} in wherry's own home")
    out.line(f"nodes    {_bytes(found.nodes_bytes)} in {found.nodes:,} of manifests")
    if found.cache_problem is not None:
        out.line(f"cache    cannot be opened: {safe(found.cache_problem)}")
    else:
        out.line(f"cache    {_bytes(found.cache_bytes)} in {many(found.cache_blocks, 'block')}")
    for cut in found.cuts:
        out.line(f"{_how(cut)}: {_bytes(cut.bytes)} in {many(cut.files, 'file')}, {_bytes(cut.unique_bytes)} unique")


async def write_json(out: Out, found: AsyncIterator[EqualFiles | SharedBytes]) -> None:
    """Writes one object, item by item. Nothing is written before the first item is here; an error later cuts it short."""
    head = '{"schema": "wherry/store-dups/1", "equal": ['
    behind, between, is_shared = head, "", False
    async for item in found:
        if not isinstance(item, EqualFiles) and not is_shared:
            behind, between, is_shared = behind + '], "shared": [', "", True
        text = to_json({key: value for key, value in item.to_json().items() if key != "schema"})
        out.write(f"{behind}{between}\n{text}")
        behind, between = "", ","
    out.line(behind + ("]}" if is_shared else '], "shared": []}'))
    out.flush()


async def write_lines(out: Out, found: AsyncIterator[EqualFiles | SharedBytes]) -> None:
    """Writes a line for each file of a group, and one for each pair; with --quiet the paths that could be spared."""
    none = True
    async for item in found:
        none = False
        if isinstance(item, EqualFiles):
            if out.quiet:
                for path in item.paths[1:]:
                    out.line(safe(path))
                continue
            out.line(f"{item.copies:,} x {_bytes(item.bytes)}  {item.cid}")
            for path in item.paths:
                out.line(f"    {safe(path)}")
            if item.copies > len(item.paths):
                out.line(f"    and {item.copies - len(item.paths):,} more")
        elif not out.quiet:
            out.line(f"{_bytes(item.bytes)} in {many(item.leaves, 'leaf', 'leaves')} of both")
            out.line(f"    {safe(item.path)}")
            out.line(f"    {safe(item.other)}")
    if none:
        out.note("Nothing lies in two places, as far as this home knows.")


def _how(cut: CutStat) -> str:
    return safe(cut.cut) or "fetched"


def _bytes(count: int) -> str:
    return format_size(count)


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry store stat", "wherry store dups --min-bytes 1MiB")
    member(app, "stat", stat, "wherry store stat", "wherry store stat --json")
    member(app, "dups", dups, "wherry store dups", "wherry store dups --min-bytes 1MiB --json")
    return finished(app)

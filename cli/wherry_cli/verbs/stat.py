"""``wherry stat``: what a CID names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wherry.units import format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.results import Stat

_HELD: Final = "added here, or fetched whole; files are not looked at"
_NOT_HELD: Final = "not as such: it was neither added here nor fetched whole"


def stat(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="What to describe.")],
    *,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Show what a CID names: kind, size, files, metadata.

    "held" says whether this node has added the CID, or fetched it whole. Files on disk are not looked at: `wherry verify`
    does that, and `wherry repair` for all.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("stat", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher(bar=False) as watcher:
                found = await session.stat(what, sources=tuple(sources or ()), observe=watcher)
        show(run.out(), found, what)

    run.drive(work)


def show(out: Out, found: Stat, what: str) -> None:
    """Prints a line a property; with --quiet the size in bytes alone. ``what``: as it was asked for."""
    if out.as_json:
        out.result(found.to_json())
        return
    if out.quiet:
        out.line(str(found.bytes))
        return
    if found.cid is not None:
        asked = _asked(what)
        out.line(f"cid      {asked or found.cid}")
        if asked not in ("", found.cid):
            out.line(f"as v1    {found.cid}")
    out.line(f"kind     {safe(found.kind)}")
    if found.target is not None:
        out.line(f"target   {safe(found.target)}")
    out.line(f"size     {found.bytes:,} bytes ({format_size(found.bytes)})")
    if found.files is not None:
        out.line(f"files    {found.files:,}")
    if found.entries is not None:
        out.line(f"entries  {found.entries:,}")
    if found.blocks is not None:
        out.line(f"blocks   {found.blocks:,}")
    if found.chunk_bytes is not None:
        out.line(f"chunks   {format_size(found.chunk_bytes)}")
    out.line(f"held     {_HELD if found.held else _NOT_HELD}")
    if found.encrypted is not None:
        out.line(f"sealed   {safe(found.encrypted.rstrip('/'))}")
    if found.granted_by is not None:
        out.line(f"granted  by {safe(found.granted_by)}")
    for key, text in found.meta.items():
        out.line(f"meta     {safe(key)} = {safe(text)}")


def _asked(what: str) -> str:
    """Gives the CID that ``what`` is, as it was written; nothing where that is a path, a name or a ticket."""
    from wherry.errors import CIDError
    from wherry.publiccid import parse_path

    try:
        _, path = parse_path(what)
    except CIDError:
        return ""
    return "" if path else what.removeprefix("/ipfs/").removeprefix("ipfs://").rstrip("/")


def build() -> Any:
    """Makes the command."""
    return single(stat, "wherry stat bafyrei...", "wherry stat --json bafyrei.../train --from lab")

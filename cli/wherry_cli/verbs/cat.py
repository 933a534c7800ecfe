"""``wherry cat``: verified bytes on standard output."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import Annotated, Any

import typer

from wherry.errors import UsageError
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides, size


def cat(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="The file to write out.")],
    *,
    offset: Annotated[int, typer.Option("--offset", metavar="N", parser=size, help="Begin at this byte.")] = 0,
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", parser=size, help="Write at most so many bytes.")
    ] = None,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Write the bytes of a file to standard output.

    Each byte is verified before it is written; only the blocks that the range touches are fetched.
    """
    run = Invocation.of(ctx)
    if run.json:
        raise UsageError("cat writes the bytes of a file, so it has no --json", hint="`wherry stat --json` tells about it")

    async def work() -> None:
        from wherry_cli.pipe import PipeWriter

        async with run.session("cat", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher(bar=False) as watcher, closing(PipeWriter()) as writer:
                read = session.cat(what, sources=tuple(sources or ()), offset=offset, length=length, observe=watcher)
                async with aclosing(read) as pieces:
                    async for piece in pieces:
                        await writer.write(piece)

    run.drive(work)


def build() -> Any:
    """Makes the command."""
    return single(
        cat,
        "wherry cat bafyrei.../train/labels.csv",
        "wherry cat bafkrei... --offset 1MiB --length 4096 | xxd",
    )

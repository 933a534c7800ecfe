"""``wherry verify``: are these files what that CID names?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import VerifyFailed
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from wherry.results import VerifyResult


def verify(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="What the files should be.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="The file or directory to check.")],
    *,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Compare files on disk with a CID.

    Every byte is read and hashed. Differences go to standard error, one a line, and the exit code is 11.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("verify", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher() as watcher:
                result = await session.verify(what, path, sources=tuple(sources or ()), observe=watcher)
        show(run.out(), result, path)

    run.drive(work)


def show(out: Out, result: VerifyResult, path: str) -> None:
    """Prints what was found. Raises VerifyFailed if anything differs."""
    if out.as_json:
        out.result(result.to_json())
    elif result.ok and not out.quiet:
        taken = format_duration(result.seconds)
        out.line(f"{out.paint('ok', 'green')}: {many(result.files, 'file')}, {format_size(result.bytes)} verified in {taken}")
    if result.ok:
        return
    count = len(result.differences) + result.more_differences
    if not out.as_json:
        for difference in result.differences:
            out.say(f"{safe(difference.path or path)}: {safe(difference.problem)}")
        if result.more_differences:
            out.say(f"... and {result.more_differences:,} more")
    hint = "`wherry get --force` writes it anew, and fetches only what differs"
    raise VerifyFailed(f"{path!r} differs from its CID in {many(count, 'place')}", hint=hint)


def build() -> Any:
    """Makes the command."""
    return single(verify, "wherry verify bafyrei... ./dataset", "wherry verify --json bafyrei... ./dataset --from lab")

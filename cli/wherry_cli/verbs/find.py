"""``wherry find``: which peers the locators name for a CID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.results import FindResult


def find(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID", help="What to look for; a ticket will do.")],
) -> None:
    """List the peers that locators name for a CID.

    The locators in use are asked, each for at most five seconds. Nobody who is named is connected to.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("find") as session:
            with run.watcher() as watcher:
                found = await session.find(what, observe=watcher)
        show(run.out(), found)

    run.drive(work)


def show(out: Out, found: FindResult) -> None:
    """Prints a line an address, with who named it; with --quiet those alone that would be asked."""
    if out.as_json:
        out.result(found.to_json())
        return
    for hint in found.hints:
        if out.quiet:
            if hint.fault is None:
                out.line(safe(hint.address))
            continue
        fault = f"  (not used: {safe(hint.fault)})" if hint.fault else ""
        out.line(f"{safe(hint.address)}  {safe(hint.locator)}, {hint.reach}{fault}")
    if not found.hints:
        out.note("no locator names a peer")


def build() -> Any:
    """Makes the command."""
    return single(find, "wherry find bafyrei...", "wherry find --json bafyrei...")

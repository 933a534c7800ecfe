"""``wherry find``: which peers the locators name for a CID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import NotFound
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.results import FindResult, HintReport


def find(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID", help="What to look for; a ticket or a name will do.")],
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Connect to each peer that would be asked, and say who answers.")
    ] = False,
) -> None:
    """List the peers that locators name for a CID.

    The locators in use are asked, each for at most five seconds unless its configuration says more. Nobody who is named as
    a source is connected to, unless with --probe. The exit code is 6 if they name nobody; with --probe, if nobody answers.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("find") as session:
            with run.watcher() as watcher:
                found = await session.find(what, **given(probe=probe or None), observe=watcher)
        show(run.out(), found, probed=probe)

    run.drive(work)


def show(out: Out, found: FindResult, *, probed: bool = False) -> None:
    """Prints a line an address, with who named it; with --quiet those alone that would be asked.

    Raises NotFound if nobody is named; of those who were ``probed``, if nobody answers.
    """
    if out.as_json:
        out.result(found.to_json())
    else:
        show_hints(out, found.hints)
    if not found.hints:
        raise NotFound(
            f"no locator names a peer for {found.cid}",
            hint="ask more locators ([locator] use in the configuration), or give `wherry get` a source with --from ADDRESS",
        )
    if probed and not any(hint.answers for hint in found.hints):
        raise NotFound(
            f"none of the peers that are named for {found.cid} answers",
            hint="each line says why; try again later, or give `wherry get` a source with --from ADDRESS",
        )


def show_hints(out: Out, hints: list[HintReport]) -> None:
    """Prints a line an address; with --quiet those alone that would be asked."""
    for hint in hints:
        if not out.quiet:
            out.line(f"{safe(hint.address)}  {', '.join(words(hint))}{remark(hint)}")
        elif hint.fault is None and hint.answers is not False:
            out.line(safe(hint.address))


def words(hint: HintReport) -> list[str]:
    """Says who named it, and what else is known of it."""
    found = [safe(hint.locator), hint.reach]
    if hint.peer is not None:
        found.append(safe(hint.peer))
    if hint.protocols:
        found.append(" ".join(safe(name) for name in hint.protocols))
    if hint.complete is not None:
        found.append("complete" if hint.complete else "partial")
    return found


def remark(hint: HintReport) -> str:
    """Says why it is not used, or whether it answers."""
    if hint.fault is not None:
        return f"  (not used: {safe(hint.fault)})"
    if hint.answers is None:
        return ""
    return "  answers" if hint.answers else f"  (does not answer: {safe(hint.detail or '')})"


def build() -> Any:
    """Makes the command."""
    return single(find, "wherry find bafyrei...", "wherry find --probe bafyrei...", "wherry find --json bafyrei...")

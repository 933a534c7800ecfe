"""``wherry why``: where the time of transfers goes, every second of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry_cli.asking import ask
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry_cli.control.client import Control

_OVER = ("complete", "seeding", "cancelled")


def why(
    ctx: typer.Context,
    transfer: Annotated[
        str | None, typer.Argument(metavar="[TRANSFER]", help="Such as t1; without it, all that are not over.")
    ] = None,
) -> None:
    """Say where the time of transfers goes.

    Every second since the daemon began has one reason: data came in, no provider had a block, a limit, the disk, ...
    """
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        if transfer is not None:
            found = await control.why(transfer)
            if run.json:
                run.out().result(found)
            else:
                show(run.out(), found)
            return
        listed = (await control.transfers())["transfers"]
        all_of = [await control.why(one["id"]) for one in listed if one["state"] not in _OVER]
        show_all(run.out(), all_of)

    ask(run, question)


def show(out: Out, found: dict[str, Any]) -> None:
    """Prints what it waits for now, and a line a reason; with --quiet the reason of now alone."""
    report = found["why"]
    if out.quiet:
        out.line(safe(report["current"] or found["state"]))
        return
    now = f"{safe(report['text'])} ({report['current_seconds']:.1f} s)" if report["current"] else "it is over"
    out.line(f"{out.paint(safe(found['id']), 'bold')}  {safe(found['state'])}: {now}")
    for spent in report["spent"]:
        out.line(f"  {spent['seconds']:.1f} s: {safe(spent['text'])}")
    out.line(f"  {report['elapsed']:.1f} s in all, {report['idle']:.1f} s of them idle")


def show_all(out: Out, found: list[dict[str, Any]]) -> None:
    """Prints several."""
    if out.as_json:
        plain = [{key: value for key, value in one.items() if key != "schema"} for one in found]
        out.result({"schema": "wherry/whys/1", "transfers": plain})
        return
    for one in found:
        show(out, one)
    if not found:
        out.note("no transfer waits for anything")


def build() -> Any:
    """Makes the command."""
    return single(why, "wherry why", "wherry why t1", "wherry why --json t1")

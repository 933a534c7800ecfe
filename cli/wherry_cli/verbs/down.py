"""``wherry down``: ends the daemon of a home, and waits until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer reads annotations when it runs

from wherry.errors import HomeBusy
from wherry.limits import DRAIN_S
from wherry_cli.asking import ask, home_of
from wherry_cli.command import single
from wherry_cli.invocation import Invocation

if TYPE_CHECKING:
    from wherry_cli.control.client import Control


def down(ctx: typer.Context) -> None:
    """End the daemon; what its transfers have is kept.

    What is under way gets up to ten seconds. The next `wherry up` goes on with the transfers.
    """
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        import asyncio

        from wherry.daemon import places

        was = await control.stop()
        loop = asyncio.get_running_loop()
        end = loop.time() + DRAIN_S + 5.0  # it ends itself by then
        while places.running(home_of(run)) is not None:
            if loop.time() > end:
                raise HomeBusy(f"the daemon (pid {was['pid']}) does not end", hint=f"kill {was['pid']}")
            await asyncio.sleep(0.05)
        out = run.out()
        if out.as_json:
            out.result({"schema": "wherry/down/1", "pid": was["pid"], "since": was["since"]})
        else:
            out.note(f"the daemon has ended, pid {was['pid']}")

    ask(run, question)


def build() -> Any:
    """Makes the command."""
    return single(down, "wherry down", "wherry down --json")

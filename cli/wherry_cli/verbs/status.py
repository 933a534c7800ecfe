"""``wherry status``: the daemon of a home, if one runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer reads annotations when it runs

from wherry.units import format_duration, format_size
from wherry_cli.asking import ask
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from wherry_cli.control.client import Control


def status(ctx: typer.Context) -> None:
    """Show what the daemon is and does.

    The exit code is 6 if none runs.
    """
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        show(run.out(), await control.status(), time.time())

    ask(run, question)


def show(out: Out, found: dict[str, Any], now: float) -> None:
    """Prints a line a property; with --quiet the pid alone."""
    if out.as_json:
        out.result(found)
        return
    if out.quiet:
        out.line(str(found["pid"]))
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
    out.line(f"daemon     pid {found['pid']}, since {since} ({format_duration(max(0.0, now - found['since']))})")
    out.line(f"home       {safe(found['home'])}")
    for address in found["listen"]:
        out.line(f"listens    {safe(address)}")
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(found["transfers"].items()))
    out.line(f"transfers  {safe(counts) or 'none'}")
    out.line(f"down       {format_size(found['down_rate'])}/s, {format_size(found['down_bytes'])} in all")
    out.line(f"up         {format_size(found['up_rate'])}/s, {format_size(found['up_bytes'])} in all")
    out.line(f"peers      {found['peers']:,} of the swarm; transfers fetch from {many(found['sources'], 'source')}")
    for name in found.get("names", ()):  # an older daemon says nothing of them
        from wherry_cli.verbs.name import lasts

        out.line(f"name       {safe(name['name'])} (key {safe(name['key'])}) {safe(lasts(name))}")
        for text in name["warnings"]:
            out.note(f"warning: {safe(text)}")


def build() -> Any:
    """Makes the command."""
    return single(status, "wherry status", "wherry status --json")

"""``wherry limit``: the bandwidth limits of a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import UsageError
from wherry.units import format_size
from wherry_cli.asking import ask
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import rate
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry_cli.control.client import Control

HELP = """Show or change the bandwidth limits of the daemon.

They hold from now on, and until the daemon ends; those of a transfer as long as the transfer. What holds at the next start
stands in the configuration under [limits]."""

Rate = Annotated[int, typer.Argument(metavar="RATE", parser=rate, help="Bytes a second, such as 10MB; 0: no limit.")]
OfClass = Annotated[str | None, typer.Option("--class", metavar="CLASS", help="Of bulk, normal, high or interactive alone.")]
OfTransfer = Annotated[str | None, typer.Option("--transfer", metavar="ID", help="Of one transfer alone.")]
OfPeer = Annotated[bool, typer.Option("--peer", help="Of each peer.")]
OfOne = Annotated[
    str | None, typer.Option("--of-peer", metavar="ID|HOST", help="Of one peer alone: its id, or its host without a port.")
]


def bare(ctx: typer.Context) -> None:
    """Shows the limits if nothing else is asked for."""
    if ctx.invoked_subcommand is None:
        show_limits(ctx)


def show_limits(ctx: typer.Context) -> None:
    """Show the limits in force."""
    run = Invocation.of(ctx)
    _ask(run, lambda control: control.limits())


def up(
    ctx: typer.Context,
    bytes_a_second: Rate,
    *,
    klass: OfClass = None,
    transfer: OfTransfer = None,
    peer: OfPeer = False,
    one: OfOne = None,
) -> None:
    """Limit what is sent: in all, or of a class, a transfer, each peer or one."""
    scope = scope_of(klass, transfer, peer, one)
    _ask(Invocation.of(ctx), lambda control: control.limit(scope=scope, up=bytes_a_second))


def down(
    ctx: typer.Context,
    bytes_a_second: Rate,
    *,
    klass: OfClass = None,
    transfer: OfTransfer = None,
    peer: OfPeer = False,
    one: OfOne = None,
) -> None:
    """Limit what is received: in all, or of a class, a transfer, each peer or one."""
    scope = scope_of(klass, transfer, peer, one)
    _ask(Invocation.of(ctx), lambda control: control.limit(scope=scope, down=bytes_a_second))


def off(ctx: typer.Context) -> None:
    """Take all limits away."""
    _ask(Invocation.of(ctx), lambda control: control.unlimit())


def scope_of(klass: str | None, transfer: str | None, peer: bool, one: str | None = None) -> str:
    """Gives what a limit is for, as the protocol writes it. Raises UsageError."""
    named = {"class": klass, "transfer": transfer, "peer": one}
    given = [f"{kind}:{name}" for kind, name in named.items() if name is not None] + ["peer"] * peer
    if len(given) > 1:
        raise UsageError("--class, --transfer, --peer and --of-peer exclude each other", hint="set one limit after the other")
    return given[0] if given else "node"


def show(out: Out, found: dict[str, Any]) -> None:
    """Prints a line a limit."""
    if out.as_json:
        out.result(found)
        return
    for one in found["limits"]:
        more = "  (holds now, in the place of node's; `wherry limit off` ends it)" if one["scope"] == "timetable" else ""
        out.line(f"{safe(one['scope'])}  up {_rate(one['up'])}, down {_rate(one['down'])}{more}")
    if not found["limits"]:
        out.note("there is no limit")


def _rate(count: int | None) -> str:
    return "free" if count is None else f"{format_size(count)}/s"


def _ask(run: Invocation, question: Any) -> None:
    async def work(control: Control) -> None:
        show(run.out(), await question(control))

    ask(run, work)


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry limit", "wherry limit up 10MB", bare=bare)
    member(app, "show", show_limits, "wherry limit show", "wherry limit show --json")
    member(
        app, "up", up, "wherry limit up 10MB", "wherry limit up 1MiB --transfer t3", "wherry limit up 500kB --of-peer 192.0.2.7"
    )
    member(app, "down", down, "wherry limit down 50MB", "wherry limit down 10MB --class bulk")
    member(app, "off", off, "wherry limit off")
    return finished(app)

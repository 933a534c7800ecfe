"""``wherry transfers``: the transfers of a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry_cli.asking import ask
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import From, LimitDown, LimitUp  # noqa: TC001 - typer reads annotations when it runs
from wherry_cli.showing import follow, follow_all, show, show_list

if TYPE_CHECKING:
    from wherry_cli.control.client import Control

HELP = """List, add and steer the transfers of the daemon.

Without a verb it lists them: those that run first, then the queue in its order, then those that are over. `wherry up` starts
the daemon."""

Id = Annotated[str, typer.Argument(metavar="ID", help="Of the transfer, such as t1.")]
Watch = Annotated[bool, typer.Option("--watch", help="Stay and print what changes; with --json an object a line.")]
Class = Annotated[
    Literal["bulk", "normal", "high", "interactive"] | None,
    typer.Option("--class", help="A higher class goes first in the queue, and has a greater share of the link."),
]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", help="Within the class, -100 to 100; greater goes first.")
]
Seed = Annotated[
    bool | None, typer.Option("--seed/--no-seed", help="Go on offering it when it is complete.", show_default=False)
]


def bare(ctx: typer.Context, *, watch: Watch = False) -> None:
    """Lists transfers if nothing else is asked for."""
    if ctx.invoked_subcommand is None:
        list_transfers(ctx, watch=watch)


def list_transfers(ctx: typer.Context, *, watch: Watch = False) -> None:
    """List the transfers."""
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        if watch:
            await follow_all(run.out(), control.events())
        else:
            show_list(run.out(), await control.transfers())

    ask(run, question)


def add(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID|TICKET", help="What to fetch.")],
    *,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DEST", help="The file or directory to make.  [default: its name]")
    ] = None,
    sources: From = None,
    traffic_class: Class = None,
    priority: Priority = None,
    seed: Seed = None,
    limit_up: LimitUp = None,
    limit_down: LimitDown = None,
    watch: Watch = False,
) -> None:
    """Add a transfer; prints its ID.

    It is kept when this returns: it outlives a restart of the daemon, and is tried again where a source fails.
    """
    from wherry.session.parts import absolute
    from wherry_cli.verbs.get import default_target

    run = Invocation.of(ctx)
    target = output if output is not None else default_target(what)
    asked = given(
        what=what, output=target if target == "null:" else absolute(target), sources=list(sources or ()),
        traffic_class=traffic_class, priority=priority, seed=seed, limit_up=limit_up, limit_down=limit_down,
    )  # fmt: skip

    async def question(control: Control) -> None:
        added = await control.add(**asked)
        show(run.out(), added, brief=True)
        if watch:
            await follow(run.out(), control.events(), added["id"])

    ask(run, question)


def show_one(ctx: typer.Context, transfer: Id, *, watch: Watch = False) -> None:
    """Show one transfer; with --watch, until it is over.

    With --watch, the exit code of a transfer that failed is that of its error.
    """
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        found = await control.show(transfer)
        show(run.out(), found)
        if watch:
            await follow(run.out(), control.events(), found["id"])

    ask(run, question)


def change(
    ctx: typer.Context,
    transfer: Id,
    *,
    traffic_class: Class = None,
    priority: Priority = None,
    seed: Seed = None,
    limit_up: LimitUp = None,
    limit_down: LimitDown = None,
) -> None:
    """Change the settings of a transfer."""
    run = Invocation.of(ctx)
    settings = given(traffic_class=traffic_class, priority=priority, seed=seed, limit_up=limit_up, limit_down=limit_down)

    async def question(control: Control) -> None:
        show(run.out(), await control.set(transfer, **settings))

    ask(run, question)


def pause(ctx: typer.Context, transfer: Id) -> None:
    """Pause a transfer; what it has is kept."""
    _act(ctx, transfer, "pause")


def resume(ctx: typer.Context, transfer: Id) -> None:
    """Let a transfer go on that was paused, or that failed."""
    _act(ctx, transfer, "resume")


def cancel(ctx: typer.Context, transfer: Id) -> None:
    """End a transfer for good; the part that it has stays on the disk.

    One that is seeding is complete from then on.
    """
    _act(ctx, transfer, "cancel")


def _act(ctx: typer.Context, transfer: str, action: str) -> None:
    run = Invocation.of(ctx)

    async def question(control: Control) -> None:
        show(run.out(), await control.act(transfer, action), brief=True)

    ask(run, question)


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry transfers", "wherry transfers add bafyrei... -o ./dataset", bare=bare)
    member(
        app, "add", add, "wherry transfers add wherry:pGFhgX... -o ./dataset",
        "wherry transfers add bafyrei... --from lab -o ./dataset --class bulk --watch",
    )  # fmt: skip
    member(app, "list", list_transfers, "wherry transfers list", "wherry transfers list --watch --json")
    member(app, "show", show_one, "wherry transfers show t1", "wherry transfers show t1 --watch")
    member(app, "pause", pause, "wherry transfers pause t1")
    member(app, "resume", resume, "wherry transfers resume t1")
    member(app, "cancel", cancel, "wherry transfers cancel t1")
    member(app, "set", change, "wherry transfers set t1 --class high", "wherry transfers set t1 --limit-down 10MB")
    return finished(app)

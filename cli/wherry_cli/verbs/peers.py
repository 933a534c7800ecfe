"""``wherry peers``: who is remembered and how well, and who is kept out (specs/0029)."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from wherry.errors import PeerProtocolError
from wherry.peer_results import ConnectedReport, PeerReport
from wherry.units import format_duration, format_size
from wherry_cli.asking import home_of
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import duration
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.peer_results import RuleReport
    from wherry.results import Result
    from wherry_cli.control.client import Control

R = TypeVar("R", PeerReport, ConnectedReport)

HELP = """Show what is remembered of peers, and keep some out.

Without a verb below, it lists them, the best first; where a daemon runs, before them those that it is connected to.
A peer is named by its id, if it proved one (tcps), or else by where it was dialled or came from. --explain says what its score
is made of."""

What = Annotated[
    str, typer.Argument(metavar="PEER|IP|NETWORK|ADDRESS", help="Whom: a peer id, 10.0.0.7, 10.0.0.0/8 or http://host:4290.")
]
For = Annotated[
    float | None, typer.Option("--for", metavar="DURATION", parser=duration, help="For how long.  [default: for good]")
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="A reason, to be read later.")]


def show(
    ctx: typer.Context,
    *,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="PEER", help="Say what the score of one is made of.")
    ] = None,
) -> None:
    """Does what it does without a verb below."""
    if ctx.invoked_subcommand is not None:
        return
    run = Invocation.of(ctx)

    async def asked(control: Control) -> None:
        if explain is not None:
            show_one(run.out(), read(PeerReport, await control.peer(explain)))
            return
        found = await control.peers()
        now = [read(ConnectedReport, one) for one in found["connected"]]
        show_all(run.out(), [read(PeerReport, one) for one in found["peers"]], now)

    async def work() -> None:
        from wherry.daemon import places

        home = home_of(run)
        if places.running(home) is not None:
            from wherry_cli.control.client import connected

            async with connected(home) as control:
                await asked(control)
            return
        async with run.session("peers") as session:
            if explain is not None:
                show_one(run.out(), await session.peer(explain))
            else:
                show_all(run.out(), await session.peers())

    run.drive(work)


def read(kind: type[R], found: dict[str, Any]) -> R:
    """Makes a report again of what a daemon, perhaps of another version, tells; keys that are not known are passed over."""
    names = [each.name for each in fields(kind)]
    try:
        return kind(**{name: found[name] for name in names})
    except KeyError as missing:
        raise PeerProtocolError(f"the daemon says nothing of {missing}", peer="", hint="is it of another version?") from missing


def bans(ctx: typer.Context) -> None:
    """List who is kept out, and who is let in all the same."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("peers") as session:
            show_rules(run.out(), await session.rules())

    run.drive(work)


def ban(ctx: typer.Context, what: What, *, lasts_s: For = None, why: Why = "") -> None:
    """Keep a peer, a network or an address out, dialled or dialling."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("peers") as session:
            await session.ban(what, lasts_s=lasts_s, why=why)
            show_rules(run.out(), await session.rules())

    run.drive(work)


def allow(ctx: typer.Context, what: What, *, lasts_s: For = None, why: Why = "") -> None:
    """Let a peer in whom a ban of its network would keep out."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("peers") as session:
            await session.allow(what, lasts_s=lasts_s, why=why)
            show_rules(run.out(), await session.rules())

    run.drive(work)


def unban(ctx: typer.Context, what: What) -> None:
    """Take a ban, or leave, back."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("peers") as session:
            await session.unban(what)
            show_rules(run.out(), await session.rules())

    run.drive(work)


def forget(
    ctx: typer.Context,
    peers: Annotated[
        list[str] | None, typer.Argument(metavar="[PEER]...", help="Their keys, as listed.  [default: all]")
    ] = None,
) -> None:
    """Forget what is remembered of peers. Bans stay."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("peers") as session:
            count = await session.forget_peers(list(peers) if peers else None)
            out = run.out()
            if out.as_json:
                out.result({"schema": "wherry/peers-forget/1", "peers": count})
            else:
                out.line(f"{many(count, 'peer')} {'is' if count == 1 else 'are'} forgotten")

    run.drive(work)


def show_all(out: Out, peers: list[PeerReport], now: list[ConnectedReport] | None = None) -> None:
    """Prints a line a peer: those that a daemon is connected to ``now`` (None: none runs), then all that are known."""
    if out.as_json:
        out.result({"schema": "wherry/peers/1", "peers": _rows(peers), "connected": _rows(now or [])})
        return
    for peer in now or []:
        out.line(connection(peer))
    if now:
        out.line("")
    for one in peers:
        rate = f"{format_size(one.rate)}/s" if one.rate else "-"
        seen = format_duration(max(0.0, time.time() - one.last))
        out.line(f"{one.score:4.2f}  {rate:>12}  {format_size(one.down_bytes):>10} from it  seen {seen} ago  {safe(one.key)}")
    if not peers:
        out.note("No peers are remembered yet.")


def _rows(found: Sequence[Result]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.to_json().items() if name != "schema"} for one in found]


def connection(one: ConnectedReport) -> str:
    """Gives the line of one who is connected."""
    words = [
        f"{'from' if one.incoming else 'to  '} {format_duration(one.seconds)}",
        f"down {format_size(one.down_rate)}/s of {format_size(one.down_bytes)}",
        f"up {format_size(one.up_rate)}/s of {format_size(one.up_bytes)}",
    ]
    limits = [f"{way} {format_size(rate)}/s" for way, rate in (("up", one.limit_up), ("down", one.limit_down)) if rate]
    words += ["limit " + ", ".join(limits)] if limits else []
    words += ["chokes us"] if one.choked else []
    words += ["choked"] if one.choking else ["interested"] if one.interested else []
    score = "new " if one.score is None else f"{one.score:4.2f}"
    return f"{score}  {'; '.join(words)}  {safe(one.key)}"


def show_one(out: Out, one: PeerReport) -> None:
    """Prints what a score is made of."""
    if out.as_json:
        out.result(one.to_json())
        return
    proof = "it proved its key" if one.proven else "it proved nothing: what it fails with is forgotten in minutes"
    out.line(safe(one.key))
    out.line(f"score        {one.score:.2f} = integrity x (6 x reliability + 3 x goodput + latency) / 10")
    out.line(f"integrity    {one.integrity:.2f}: {one.wrong:.1f} jobs came wrong, {one.rejected} blocks in all")
    out.line(f"reliability  {one.reliability:.2f}: {one.useful:.1f} jobs of use, {one.failed:.1f} failed")
    out.line(f"goodput      {one.goodput:.2f}: {format_size(one.rate) + '/s a job' if one.rate else 'not known'}")
    out.line(f"latency      {one.latency:.2f}: {format_duration(one.latency_s) if one.latency_s else 'not known'}")
    out.line(f"gave         {format_size(one.down_bytes)}, was given {format_size(one.up_bytes)}")
    out.line(f"proof        {proof}")


def show_rules(out: Out, rules: list[RuleReport]) -> None:
    """Prints a line a rule."""
    if out.as_json:
        rows = [{name: value for name, value in one.to_json().items() if name != "schema"} for one in rules]
        out.result({"schema": "wherry/peers-bans/1", "rules": rows})
        return
    for one in rules:
        left = "for good" if one.left_s is None else f"for {format_duration(one.left_s)} more"
        why = f"  ({safe(one.why)})" if one.why else ""
        out.line(f"{'allowed' if one.allow else 'banned'}  {one.kind:<8} {safe(one.what)}  {left}, by {one.by}{why}")
    if not rules:
        out.note("Nobody is banned.")


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry peers", "wherry peers --explain 12D3Koo...", "wherry peers ban 192.0.2.0/24 --for 1d", bare=show)
    member(app, "bans", bans, "wherry peers bans --json")
    member(app, "ban", ban, "wherry peers ban 12D3Koo... --for 1d --why 'sends rubbish'")
    member(app, "allow", allow, "wherry peers allow 192.0.2.7")
    member(app, "unban", unban, "wherry peers unban 192.0.2.0/24")
    member(app, "forget", forget, "wherry peers forget")
    return finished(app)

"""``wherry name``: names that lead to content that changes, as IPNS has them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import DecodeError, LimitExceeded, UsageError
from wherry.hints import advising
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import From, TokenFile, access_overrides, duration
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.results import FollowResult, NameEventReport, NameReport
    from wherry.session import Session

HELP = """Publish, resolve and follow names that lead to changing content.

A name is a key (IPNS): whoever has it signs where the name leads. `wherry get NAME` gets what it leads to. A record that goes
back, is not renewed, or contradicts another one is noticed and said."""

_RECORD = "a record is what gateways give for `/ipns/NAME?format=ipns-record`, byte for byte"

Name = Annotated[str, typer.Argument(metavar="NAME", help="k51..., 12D3Koo..., /ipns/... or ipns://...")]


def publish(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID", help="Where the name shall lead: CID[/PATH], or another name.")],
    *,
    key: Annotated[str, typer.Option("--key", metavar="NAME", help="The key to publish with; made when first used.")] = "self",
    lifetime_s: Annotated[
        float | None,
        typer.Option("--lifetime", metavar="DURATION", parser=duration, help="How long it counts; 48h if not said."),
    ] = None,
    ttl_s: Annotated[
        float | None,
        typer.Option("--ttl", metavar="DURATION", parser=duration, help="How long others may keep it unasked; 5m if not said."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also above what somebody else published with the same key.")] = False,
    renew: Annotated[bool, typer.Option("--renew/--no-renew", help="Let `wherry serve` and `wherry up` renew it.")] = True,
) -> None:
    """Let a name lead to a CID.

    The record goes to the trackers that are configured; `wherry serve` and `wherry up` give it to those who ask, and renew it
    before it is over.
    """
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        options = given(lifetime_s=lifetime_s, ttl_s=ttl_s)
        report = await session.publish_name(what, key=key, force=force, renew=renew, **options)
        show_name(run.out(), report, published=True)

    _drive(run, work)


def resolve(ctx: typer.Context, name: Name, *, source: From = None, token_file: TokenFile = None) -> None:
    """Say where a name leads now."""
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        with run.watcher() as watcher:
            report = await session.resolve_name(name, sources=tuple(source or ()), observe=watcher)
        show_name(run.out(), report)

    _drive(run, work, token_file=token_file)


def list_names(ctx: typer.Context) -> None:
    """List the names that this home publishes or has met.

    Of one whose record is no longer valid it says "over"; of one with two different records of one number, "disputed". Neither
    is resolved. Of one that was signed while this machine's clock was ahead it says so.
    """
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        show_names(run.out(), await session.names())

    _drive(run, work)


def log(ctx: typer.Context, name: Name) -> None:
    """Show what happened to a name: versions, and what was wrong."""
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        show_log(run.out(), await session.name_log(name))

    _drive(run, work)


def import_record(
    ctx: typer.Context,
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A record, as gateways give it (- reads it).")],
) -> None:
    """Take in the record of a name from a file."""
    from wherry.limits import NAME_RECORD_BYTES_MAX
    from wherry_cli.verbs.keys import read_bounded

    run = Invocation.of(ctx)
    data = read_bounded(file, NAME_RECORD_BYTES_MAX)
    where = "standard input" if file == "-" else repr(file)
    if not data:
        raise DecodeError(f"{where} is empty, and no IPNS record", hint=_RECORD)

    async def work(session: Session) -> None:
        with advising(DecodeError, _RECORD, about=where), advising(LimitExceeded, _RECORD, about=where):
            report = await session.import_record(name, data)
        show_name(run.out(), report)

    _drive(run, work)


def follow(
    ctx: typer.Context,
    name: Name,
    *,
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="PATH", help="A symbolic link that leads to the newest version that is here, whole."),
    ] = None,
    source: From = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    every_s: Annotated[
        float | None,
        typer.Option("--every", metavar="DURATION", parser=duration, help="How long between two looks; 60s if not said."),
    ] = None,
    names: Annotated[
        Literal["portable", "posix"] | None,
        typer.Option("--names", help="Which names to take: those that every system can write, or all of POSIX's."),
    ] = None,
    links: Annotated[
        Literal["refuse", "skip", "keep"] | None,
        typer.Option("--links", help="What to do with a symbolic link that leads out of the tree."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", metavar="N", min=1, help="Remove older versions that this home got, but for N; all stay if not said."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a link at PATH that follows no name.")] = False,
    token_file: TokenFile = None,
) -> None:
    """Get each new version of a name, until Ctrl-C.

    A version is got whole and verified into PATH.versions, and only then does the link lead to it. Each takes the room of a
    whole copy: --keep says how many stay, the newest one counted. Others may be removed by hand.
    """
    if link is None and (keep is not None or force):
        raise UsageError("--keep and --force are about the link and its versions", hint="give --link PATH, too")
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        out = run.out()
        with run.watcher() as watcher:
            options = given(every_s=every_s, names=names, links=links, keep=keep)
            found = session.follow_name(
                name, link=link, sources=tuple(source or ()), once=once, force=force, observe=watcher, **options
            )
            try:
                async for step in found:
                    show_step(out, step)
                    out.flush()
            finally:
                run.kept = _left(link)

    _drive(run, work, token_file=token_file, kept=_left(link))


def _left(link: str | None) -> str:
    """Says how a follower that is stopped now leaves the link; nothing if there is none to be made."""
    if link is None:
        return ""
    path = os.path.abspath(os.path.expanduser(link))
    try:
        to = os.readlink(path)
    except OSError:
        return "no version came whole, so no link was made"
    whole = os.path.dirname(to) == f"{os.path.basename(path)}.versions"
    return "the link leads to the last whole version" if whole else "no version came whole, so the link is as it was"


def _drive(run: Invocation, verb: Any, *, token_file: Any = None, kept: str = "") -> None:
    async def work() -> None:
        async with run.session("name", overrides=access_overrides(token_file=token_file)) as session:
            await verb(session)

    run.drive(work, kept=kept)


# What is printed


def show_name(out: Out, report: NameReport, *, published: bool = False) -> None:
    """Prints where a name leads; with --quiet what is to be copied: the name of a new one, else the path."""
    if out.as_json:
        out.result(report.to_json())
        return
    if out.quiet:
        out.line(report.name if published else safe(report.value))
        return
    if published:
        out.line(report.name)
    out.line(safe(report.value))
    out.line(f"number {report.sequence}, {lasts({'until': report.until, 'renews': report.renews})}")
    if published:
        out.line(
            f"told to {', '.join(map(safe, report.told))}" if report.told else "told to no tracker; `wherry serve` gives it"
        )
    for text in report.warnings:
        out.note(f"warning: {safe(text)}")


def lasts(name: Mapping[str, str | None]) -> str:
    """Says until when a record is valid, and when it is renewed; both to the second."""
    until, renews = name["until"], name["renews"]
    return f"until {_second(until)}" + (f", renewed at {_second(renews)}" if renews is not None else "")


def _second(moment: str | None) -> str:
    return f"{(moment or '')[:19]}Z"


def show_names(out: Out, names: list[NameReport]) -> None:
    """Prints a line a name."""
    if out.as_json:
        found = [{word: value for word, value in one.to_json().items() if word != "schema"} for one in names]
        out.result({"schema": "wherry/names/1", "names": found})
        return
    for one in names:
        line = f"{one.name}  {one.key or '-'}  {one.sequence}  {safe(one.value)}  "
        line += ", ".join(map(safe, one.warnings)) or lasts({"until": one.until, "renews": one.renews})
        out.line(one.name if out.quiet else line)
    if not names:
        out.note("There are no names. `wherry name publish CID` makes one.")


def show_log(out: Out, events: list[NameEventReport]) -> None:
    """Prints a line an event."""
    if out.as_json:
        found = [{word: value for word, value in one.to_json().items() if word != "schema"} for one in events]
        out.result({"schema": "wherry/name-log/1", "events": found})
        return
    for one in events:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one.at))
        bad = one.kind in ("rollback", "equivocation", "frozen")
        out.line(f"{at}  {out.paint(one.kind, 'red') if bad else one.kind}  {one.sequence}  {safe(one.said)}")
    if not events:
        out.note("Nothing is known of this name here.")


def show_step(out: Out, step: FollowResult) -> None:
    """Prints one look at a followed name."""
    if out.as_json:
        out.result(step.to_json())
        return
    out.line(safe(step.link if step.link is not None and out.quiet else step.value))
    if step.path is not None and not out.quiet:
        out.line(f"{safe(step.link or '')} {'now leads' if step.changed else 'leads'} to {safe(step.path)}")
        for path in step.removed:
            out.line(f"removed the older version {safe(path)}")
    for text in step.warnings:
        out.note(f"warning: {safe(text)}")


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry name publish bafyrei...", "wherry name resolve k51...", "wherry name follow k51... --link now")
    member(app, "publish", publish, "wherry name publish bafyrei...", "wherry name publish bafyrei... --key models --ttl 1m")
    member(
        app, "resolve", resolve, "wherry name resolve k51...", "wherry name resolve k51... --from https://gateway.example:443"
    )
    member(app, "list", list_names, "wherry name list", "wherry name list --json")
    member(app, "log", log, "wherry name log k51...")
    member(app, "import", import_record, "wherry name import k51... record.ipns-record")
    member(
        app,
        "follow",
        follow,
        "wherry name follow k51... --link ./now",
        "wherry name follow k51... --link ./now --once",
        "wherry name follow k51... --link ./now --keep 2",
    )
    return finished(app)

"""``wherry get``: fetch, verify, write."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import DataError, UsageError
from wherry.results import GetPlan
from wherry.ticket import PREFIX, Ticket
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import (
    AllowPublic,
    From,
    LimitDown,
    LimitUp,
    Listen,
    TokenFile,
    TrafficClass,
    access_overrides,
    duration,
    size,
    with_class,
    with_limits,
)
from wherry_cli.render import Out, many, safe
from wherry_cli.verbs.serve import until_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.results import GetResult
    from wherry.session import Session
    from wherry.transfer.serve import Serving

KEPT = "what was fetched is kept: the same command goes on from there"


def get(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="CID[/PATH]|NAME|TICKET|TORRENT", help="What to fetch; a NAME is k51... or /ipns/...")
    ],
    *,
    sources: From = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DEST",
            help="The file or directory to make; `-o null:` drops the data.  [default: its name]",
        ),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="GLOB", help="Only these paths. Repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Not these paths. Repeatable.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what is at DEST; a directory goes with all that is in it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would move, from where, and whether it fits.")
    ] = False,
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            parser=duration,
            help="How long to wait for a source lost midway; 60s if not configured.",
        ),
    ] = None,
    links: Annotated[
        Literal["refuse", "skip", "keep"] | None,
        typer.Option("--links", help="What to do with a symbolic link that leads out of the tree."),
    ] = None,
    names: Annotated[
        Literal["portable", "posix"] | None,
        typer.Option("--names", help="Which names to take: those that every system can write, or all of POSIX's."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", metavar="SIZE", parser=size, help="Refuse anything larger.")
    ] = None,
    klass: TrafficClass = None,
    limit_down: LimitDown = None,
    limit_up: LimitUp = None,
    seed: Annotated[bool, typer.Option("--seed", help="Stay and serve it afterwards.")] = False,
    listen: Listen = None,
    allow_public: AllowPublic = False,
    token_file: TokenFile = None,
) -> None:
    """Fetch, verify and write what a CID, a name or a ticket leads to.

    Interrupted in any way, the same command goes on where it was. A DEST that is complete is left as it is. With --listen,
    others get from here what is here while the rest still comes. A magnet link or a F.torrent is downloaded, then added.
    """
    run = Invocation.of(ctx)
    if is_torrent(what):
        from wherry_cli.torrenting import Wish, get_torrent

        refused = {
            "--include": include, "--exclude": exclude, "--dry-run": dry_run, "--links": links, "--class": klass,
            "--listen": listen and not seed, "--token-file": token_file,
        }  # fmt: skip
        wish = Wish(
            what, tuple(sources or ()), output, force, wait_s, names, max_bytes, seed, tuple(listen or ()), allow_public
        )
        get_torrent(
            run, wish, [name for name, said in refused.items() if said], with_limits({}, up=limit_up, down=limit_down) or {}
        )
        return
    if output == "":
        raise UsageError("-o names nothing", hint="an empty variable? Leave -o out for the usual name")
    if seed and dry_run:
        raise UsageError("--seed and --dry-run do not go together", hint="leave out one of them")
    if listen and dry_run:
        raise UsageError("--listen and --dry-run do not go together", hint="leave out one of them")
    if allow_public and not (listen or seed):
        raise UsageError("--allow-public is for --listen and --seed", hint="add one of them, or leave it out")
    overrides = with_limits(access_overrides(token_file=token_file), up=limit_up, down=limit_down)
    overrides = with_class(overrides, klass)  # of what it gives to others when it is complete
    target = output if output is not None else default_target(what)

    async def work() -> None:
        async with (
            run.session("get", overrides=overrides) as session,
            _listening(session, tuple(listen or ()), allow_public) as serving,
        ):
            with run.watcher() as watcher:
                result = await session.get(
                    what,
                    sources=tuple(sources or ()),
                    output=target,
                    include=tuple(include or ()),
                    exclude=tuple(exclude or ()),
                    force=force,
                    dry_run=dry_run,
                    **given(wait_s=wait_s, links=links, names=names, max_bytes=max_bytes, klass=klass),
                    observe=watcher,
                )
            if isinstance(result, GetPlan):
                show_plan(run.out(), result)
            elif seed and serving is not None:
                await _stay(run, result, serving)
            elif seed:
                async with session.serve((), **given(allow_public=allow_public or None)) as serving:
                    await _stay(run, result, serving)
            else:
                show(run.out(), result)

    run.drive(work, kept="nothing was written" if dry_run else KEPT)


def is_torrent(what: str) -> bool:
    """Tells whether it is a magnet link, or the path of a torrent; ``CID/x.torrent`` is a file like any."""
    if what[:7].lower() == "magnet:":
        return True
    if not what.lower().endswith(".torrent"):
        return False
    if os.path.exists(os.path.expanduser(what)):
        return True
    from wherry.ipns.name import split
    from wherry.publiccid import parse_path

    try:
        parse_path(what)
    except DataError:
        return split(what) is None
    return False


def default_target(what: str) -> str:
    """Where a get writes when it is not told: the name of the ticket or of a path, or the CID, in the current directory."""
    if not what.startswith(PREFIX):
        return what.rstrip("/").rpartition("/")[2]
    ticket = Ticket.parse(what)
    return ticket.name if ticket.name is not None else str(ticket.cid)


@asynccontextmanager
async def _listening(session: Session, listen: tuple[str, ...], allow_public: bool) -> AsyncIterator[Serving | None]:
    """Serves, while the context lasts, what is fetched to whoever asks at ``listen``."""
    if not listen:
        yield None
        return
    async with session.serve((), listen=listen, **given(allow_public=allow_public or None)) as serving:
        yield serving


async def _stay(run: Invocation, result: GetResult, serving: Serving) -> None:
    """Says what was fetched, and serves it until a signal."""
    out = run.out()
    if out.as_json:
        out.result({**result.to_json(), "listen": list(serving.listen)})
    else:
        show(out, result)
        for address in serving.listen:
            out.line(safe(address))
    out.flush()
    out.note("Complete. Serving until Ctrl-C.")
    await until_stopped(serving)


def show(out: Out, result: GetResult) -> None:
    """Prints where the data is now, and a line about how it came."""
    if out.as_json:
        out.result(result.to_json())
        return
    out.line(safe(result.path))
    if out.quiet:
        return
    if not result.fetched_bytes:
        out.line(f"{format_size(result.bytes)}, nothing to fetch")
        return
    rate = f" ({format_size(result.fetched_bytes / result.seconds)}/s)" if result.seconds > 0 else ""
    used = [source for source in result.sources if source.bytes]
    what = "of which" if result.fetched_bytes <= result.bytes else "for which"  # from two sources some may come twice
    out.line(
        f"{format_size(result.bytes)}, {what} {format_size(result.fetched_bytes)} fetched in "
        f"{format_duration(result.seconds)}{rate} from {many(len(used), 'source')}"
    )


def show_plan(out: Out, plan: GetPlan) -> None:
    """Prints what a get would do."""
    if out.as_json:
        out.result(plan.to_json())
        return
    room = "it fits" if plan.fits else out.paint("it does not fit", "red")
    out.line(f"{safe(plan.path)}: {many(plan.files, 'file')}, {format_size(plan.bytes)}")
    out.line(f"to fetch: {format_size(plan.want_bytes)}; here already: {format_size(plan.have_bytes)}")
    out.line(f"free: {format_size(plan.free_bytes)}; {room}")
    for source in plan.sources:
        state = out.paint("ok", "green") if source.reachable else out.paint("no", "red")
        detail = f" ({safe(source.detail)})" if source.detail else ""
        out.line(f"from {safe(source.address)}: {state}{detail}")


def build() -> Any:
    """Makes the command."""
    return single(
        get,
        "wherry get wherry:pGFhgX... -o ./dataset",
        "wherry get bafyrei... --from http://192.0.2.7:4290 -o ./dataset",
        "wherry get bafyrei... --from lab --include 'train/*' --dry-run",
        "wherry get k51... -o ./dataset",
        "wherry get dataset.torrent -o ./dataset",
    )

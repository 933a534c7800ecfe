"""``wherry cache``: what the cache holds, filling it with a dataset, emptying it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.units import format_duration, format_size
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import From, TokenFile, access_overrides, duration, size
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from wherry.results import CacheCleared, CacheStat, CacheWarmed

HELP = """Look at the cache, fill it with a dataset, or empty it.

The cache keeps fetched blocks that have no file of their own, up to a quota."""
KEPT = "what was fetched is in the cache: the same command goes on from there"


def stat(ctx: typer.Context) -> None:
    """Show which cache is in use, and how full it is."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("cache") as session:
            show_stat(run.out(), await session.cache_stat())

    run.drive(work)


def warm(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID|TICKET", help="What to fetch into the cache.")],
    *,
    sources: From = None,
    max_bytes: Annotated[
        int | None, typer.Option("--bytes", metavar="SIZE", parser=size, help="Only the beginning, so much of it.")
    ] = None,
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            parser=duration,
            help="How long to wait for a source lost midway; 60s if not configured.",
        ),
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Fetch a dataset into the cache, to serve it without its files.

    Interrupted in any way, the same command goes on where it was. A dataset that is larger than the cache is refused,
    unless --bytes is given.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("cache", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher() as watcher:
                result = await session.cache_warm(
                    what, sources=tuple(sources or ()), **given(max_bytes=max_bytes, wait_s=wait_s), observe=watcher
                )
            show_warmed(run.out(), result)

    run.drive(work, kept=KEPT)


def clear(ctx: typer.Context) -> None:
    """Forget every block of the cache. No file of yours is touched."""
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("cache") as session:
            show_cleared(run.out(), await session.cache_clear())

    run.drive(work)


def show_stat(out: Out, found: CacheStat) -> None:
    """Prints a line a property; with --quiet the bytes alone."""
    if out.as_json:
        out.result(found.to_json())
        return
    if out.quiet:
        out.line(str(found.bytes))
        return
    plugin = "" if found.plugin == found.name else f" (plugin {safe(found.plugin)})"
    out.line(f"cache    {safe(found.name)}{plugin}")
    out.line(f"blocks   {found.blocks:,}")
    share = f" ({found.bytes / found.bytes_max:.0%})" if found.bytes_max else ""
    out.line(f"bytes    {format_size(found.bytes)} of {format_size(found.bytes_max)}{share}")


def show_warmed(out: Out, result: CacheWarmed) -> None:
    """Prints what is in the cache now, and a line about how it came; with --quiet nothing."""
    if out.as_json:
        out.result(result.to_json())
        return
    if out.quiet:
        return
    what = "the whole dataset" if result.complete else "the beginning of the dataset"
    out.line(f"{what} is in the cache: {format_size(result.bytes)} in {many(result.blocks, 'block')}")
    if not result.fetched_bytes:
        out.line("nothing to fetch")
        return
    rate = f" ({format_size(result.fetched_bytes / result.seconds)}/s)" if result.seconds > 0 else ""
    out.line(f"{format_size(result.fetched_bytes)} fetched in {format_duration(result.seconds)}{rate}")


def show_cleared(out: Out, result: CacheCleared) -> None:
    """Prints how much was forgotten."""
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        out.line(f"{many(result.blocks, 'block')} forgotten")


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry cache stat", "wherry cache warm bafyrei... --from lab")
    member(app, "stat", stat, "wherry cache stat", "wherry cache stat --json")
    member(app, "warm", warm, "wherry cache warm bafyrei... --from lab", "wherry cache warm bafyrei... --bytes 5GiB")
    member(app, "clear", clear, "wherry cache clear")
    return finished(app)

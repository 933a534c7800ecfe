"""``wherry export``: what a CID names as one file that other tools read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import UsageError
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides, size
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.car_results import ExportResult, TorrentResult


def export(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="What to export: native or UnixFS, or any other DAG.")],
    *,
    car: Annotated[
        str | None, typer.Option("--car", metavar="FILE", help="Write a CAR of version 1; - is standard output.")
    ] = None,
    scope: Annotated[
        Literal["all", "entity", "block"],
        typer.Option("--scope", help="Of a CAR: all below it; a file, or the listing of a directory; or its block alone."),
    ] = "all",
    torrent: Annotated[
        str | None, typer.Option("--torrent", metavar="FILE", help="Write a torrent of it; - is standard output.")
    ] = None,
    webseed: Annotated[
        list[str] | None,
        typer.Option("--webseed", metavar="URL", help="Of a torrent: http://HOST:PORT of a `wherry serve` that has it."),
    ] = None,
    tracker: Annotated[
        list[str] | None, typer.Option("--tracker", metavar="URL", help="Of a torrent: a tracker of BitTorrent.")
    ] = None,
    v2: Annotated[
        bool, typer.Option("--v2", help="Of a torrent: version 2 alone, not a hybrid that old clients read.")
    ] = False,
    v1: Annotated[
        bool, typer.Option("--v1", help="Of a torrent: version 1 alone, without padding files, which old clients write down.")
    ] = False,
    piece: Annotated[
        int, typer.Option("--piece", metavar="SIZE", parser=size, help="Of a torrent: the length of a piece.")
    ] = "1MiB",  # type: ignore[assignment]  # typer parses it
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Write what a CID names as one file that other tools read.

    A CAR has all blocks, depth first, each once, and those that prove the path first; what is not here is fetched from the
    sources while it is written. A torrent names the files, so that ordinary clients fetch them of a `wherry serve`.
    """
    if (car is None) == (torrent is None):
        raise UsageError("say what to write: --car FILE, or --torrent FILE")
    if v1 and v2:
        raise UsageError("--v1 and --v2 do not go together", hint="leave out both for a hybrid, which has both versions")
    if torrent is not None and sources:
        raise UsageError("a torrent is made of what is here", hint="`wherry get` it first")
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("export", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher() as watcher:
                if car is not None:
                    result = await session.export_car(
                        what, car, scope=scope, sources=tuple(sources or ()), force=force, observe=watcher
                    )
                    show(run.out(), result)
                elif torrent is not None:
                    made = await session.export_torrent(
                        what, torrent, webseeds=tuple(webseed or ()), trackers=tuple(tracker or ()), hybrid=not v2,
                        v1_only=v1, piece_bytes=piece, force=force, observe=watcher,
                    )  # fmt: skip
                    show_torrent(run.out(), made)

    run.drive(work, kept="the file was not made")


def show(out: Out, result: ExportResult) -> None:
    """Prints what was written, if it was not written to standard output."""
    if result.large:
        out.warning(f"{result.large:,} blocks have more than 2 MiB: wherry reads them, and hardly any other tool")
    if result.path == "-":
        return
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        taken = format_duration(result.seconds)
        out.line(f"{safe(result.path)}: {result.blocks:,} blocks, {format_size(result.bytes)} in {taken}")


def show_torrent(out: Out, result: TorrentResult) -> None:
    """Prints what was written."""
    if result.path == "-":
        return
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        left = f"; {_many(result.skipped, 'link')} left out" if result.skipped else ""
        out.line(f"{safe(result.path)}: {_many(result.files, 'file')}, {format_size(result.bytes)}{left}")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def build() -> Any:
    """Makes the command."""
    return single(
        export,
        "wherry export bafy... --car dataset.car",
        "wherry export bafy... --car dataset.car --from https://gateway.example:443",
        "wherry export bafy... --torrent dataset.torrent --webseed http://192.168.1.7:4290",
    )

"""``wherry export``: what a CID names as one file that other tools read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import UsageError
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import From, TokenFile, access_overrides, size
from wherry_cli.render import Out, check_stdout, many, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.car_results import ExportResult, TorrentResult


def export(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="What to export: native or UnixFS, or any other DAG.")],
    *,
    car: Annotated[
        str | None, typer.Option("--car", metavar="FILE", help="Write a CAR of version 1; - is standard output.")
    ] = None,
    scope: Annotated[
        Literal["all", "entity", "block"] | None,
        typer.Option(
            "--scope",
            help="Of a CAR: all below it; a file, or the listing of a directory; or its block alone.  [default: all]",
        ),
    ] = None,
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
        int | None,
        typer.Option("--piece", metavar="SIZE", parser=size, help="Of a torrent: the length of a piece.  [default: 1MiB]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Write what a CID names as one file that other tools read.

    A CAR has all blocks, depth first, each once, and those that prove the path first; what is not here is fetched from the
    sources while it is written. A torrent names the files, so that ordinary clients fetch them of a `wherry serve`.
    """
    run = Invocation.of(ctx)
    of_torrents = {"--webseed": webseed, "--tracker": tracker, "--v1": v1, "--v2": v2, "--piece": piece}
    _check_one_of(car, torrent)
    if run.json and "-" in (car, torrent):
        kind = "a CAR" if car is not None else "a torrent"
        raise UsageError(f"{kind} on standard output has no --json beside it", hint="name a file, or leave out --json")
    if "-" in (car, torrent):
        check_stdout()
    if car is not None:
        _refuse(of_torrents, "a CAR", of="--torrent FILE")
    else:
        _refuse({"--scope": scope, "--token-file": token_file}, "a torrent", of="--car FILE")
        if v1 and v2:
            raise UsageError("--v1 and --v2 do not go together", hint="leave out both for a hybrid, which has both versions")
        if sources:
            raise UsageError("a torrent is made of what is here", hint="`wherry get` it first")

    async def work() -> None:
        async with run.session("export", overrides=access_overrides(token_file=token_file)) as session:
            with run.watcher() as watcher:
                if car is not None:
                    result = await session.export_car(
                        what, car, sources=tuple(sources or ()), force=force, observe=watcher, **given(scope=scope)
                    )
                    show(run.out(), result)
                elif torrent is not None:
                    made = await session.export_torrent(
                        what, torrent, webseeds=tuple(webseed or ()), trackers=tuple(tracker or ()), hybrid=not v2,
                        v1_only=v1, force=force, observe=watcher, **given(piece_bytes=piece),
                    )  # fmt: skip
                    show_torrent(run.out(), made)

    run.drive(work, kept="the file was not made")


def _check_one_of(car: str | None, torrent: str | None) -> None:
    """Refuses a call that names no file to write, or two."""
    if car is None and torrent is None:
        raise UsageError("nothing says what to write", hint="add --car FILE, or --torrent FILE")
    if car is not None and torrent is not None:
        raise UsageError("--car and --torrent do not go together", hint="export twice, with one of them each")


def _refuse(options: Mapping[str, Any], what: str, *, of: str) -> None:
    """Refuses those of ``options`` that were given: they would change nothing of ``what`` is written."""
    said = [name for name, value in options.items() if value is not None and value is not False and value != []]
    if said:
        them = "it" if len(said) == 1 else "them"
        raise UsageError(
            f"{' and '.join(said)} {'is' if len(said) == 1 else 'are'} not for {what}", hint=f"leave {them} out, or write {of}"
        )


def show(out: Out, result: ExportResult) -> None:
    """Prints what was written, if it was not written to standard output."""
    if result.large:
        have, them = ("has", "it") if result.large == 1 else ("have", "them")
        out.warning(f"{many(result.large, 'block')} {have} more than 2 MiB: wherry reads {them}, and hardly any other tool")
    if result.path == "-":
        return
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        taken = format_duration(result.seconds)
        out.line(f"{safe(result.path)}: {many(result.blocks, 'block')}, {format_size(result.bytes)} in {taken}")


def show_torrent(out: Out, result: TorrentResult) -> None:
    """Prints what was written."""
    if result.path == "-":
        return
    if out.as_json:
        out.result(result.to_json())
    elif not out.quiet:
        left = f"; {many(result.skipped, 'link')} left out" if result.skipped else ""
        out.line(f"{safe(result.path)}: {many(result.files, 'file')}, {format_size(result.bytes)}{left}")


def build() -> Any:
    """Makes the command."""
    return single(
        export,
        "wherry export bafy... --car dataset.car",
        "wherry export bafy... --car dataset.car --from https://gateway.example:443",
        "wherry export bafy... --torrent dataset.torrent --webseed http://192.168.1.7:4290",
    )

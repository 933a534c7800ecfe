"""``wherry add``: files become a CID, and stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import UsageError
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from wherry.results import AddResult
    from wherry_cli.progress import Watcher

KEPT = "nothing is lost: the same command begins again"

Chunker = Annotated[
    str | None, typer.Option("--chunker", metavar="NAME", help="How files are cut: fixed:1MiB, fixed:2MiB or fixed:4MiB.")
]
Mtime = Annotated[
    bool | None,
    typer.Option("--mtime/--no-mtime", help="Whether to record when files were changed; it becomes part of the CID."),
]


def add(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or a directory; or synth://SIZE?seed=N.")],
    *,
    chunker: Chunker = None,
    mtime: Mtime = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Its name, part of its metadata and CID.")] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="KEY=TEXT", help="Words about the dataset, part of its CID. Repeatable."),
    ] = None,
) -> None:
    """Read files once, in place, and print their CID.

    Nothing is copied: wherry remembers where the pieces lie, and notices if a file changes afterwards.
    """
    run = Invocation.of(ctx)
    words = read_meta(meta or [])

    async def work() -> None:
        async with run.session("add") as session:
            with run.watcher() as watcher:
                options = given(chunker=chunker, mtime=mtime, name=name, meta=words)
                result = await session.add(path, **options, observe=watcher)
        show(run.out(), watcher, result)

    run.drive(work, kept=KEPT)


def read_meta(pairs: list[str]) -> dict[str, str] | None:
    """Reads KEY=TEXT pairs. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--meta {pair!r} is not KEY=TEXT", hint='write it as --meta "licence=CC0"')
        if key in found:
            raise UsageError(f"--meta {key!r} is given twice")
        found[key] = text
    return found or None


def show(out: Out, watcher: Watcher, result: AddResult) -> None:
    """Prints what an add gave: the CID, and a line about it."""
    warn(out, watcher, result)
    if out.as_json:
        out.result(result.to_json())
        return
    out.line(result.cid)
    if not out.quiet:
        out.line(summary(result))


def warn(out: Out, watcher: Watcher, result: AddResult) -> None:
    """Says each warning of the result that was not said while the verb ran."""
    for text in result.warnings:
        if not watcher.said(text):
            out.warning(safe(text))


def summary(result: AddResult) -> str:
    """A line for people about an add."""
    rate = f" ({format_size(result.bytes / result.seconds)}/s)" if result.seconds > 0 and result.bytes else ""
    files = f"{result.files:,} file{'' if result.files == 1 else 's'}"
    blocks = f"{result.new_blocks:,} new blocks, {result.reused_blocks:,} known"
    return f"{files}, {format_size(result.bytes)} in {format_duration(result.seconds)}{rate}; {blocks}"


def build() -> Any:
    """Makes the command."""
    return single(add, "wherry add ./dataset", 'wherry add --meta "licence=CC0" ./dataset', "cid=$(wherry add -q model.bin)")

"""``wherry ls``: the entries of a directory, one after another, however many there are."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides
from wherry_cli.render import Out, safe, to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.results import LsEntry


def ls(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID[/PATH]", help="The directory to list, or a file.")],
    *,
    long: Annotated[bool, typer.Option("-l", "--long", help="Kind, size, time, CID and name of each.")] = False,
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """List the entries of a directory.

    They are printed as they are read, so a directory of millions takes no more memory than a small one.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        async with run.session("ls", overrides=access_overrides(token_file=token_file)) as session:
            out = run.out()
            with run.watcher(bar=False) as watcher:
                async with aclosing(session.ls(what, sources=tuple(sources or ()), observe=watcher)) as entries:
                    if out.as_json:
                        await write_json(out, what, entries)
                        return
                    show = long_line if long else short_line
                    async for entry in entries:
                        # A file that was asked for by its CID has no name.
                        out.line(show(out, entry if entry.name else replace(entry, name=what.rpartition("/")[2])))

    run.drive(work)


async def write_json(out: Out, what: str, entries: AsyncIterator[LsEntry]) -> None:
    """Writes one object, entry by entry. Nothing is written before the first entry is here; an error later cuts it short."""
    head = f'{{"schema": "wherry/ls/1", "what": {to_json(what)}, "entries": ['
    between = head
    async for entry in entries:
        out.write(between + "\n" + to_json(entry_json(entry)))
        between = ","
    out.line(f"{head}]}}" if between is head else "\n]}")
    out.flush()


def entry_json(entry: LsEntry) -> dict[str, object]:
    """The JSON form of an entry inside a list, whose schema says what it is."""
    return {key: value for key, value in entry.to_json().items() if key != "schema"}


def short_line(out: Out, entry: LsEntry) -> str:
    """The name, with a mark behind it that tells its kind."""
    mark = {"dir": "/", "symlink": "@"}.get(entry.kind, "*" if entry.executable else "")
    name = safe(entry.name)
    return (out.paint(name, "bold") if entry.kind == "dir" else name) + mark


def long_line(out: Out, entry: LsEntry) -> str:
    """Kind, size, time, CID and name, in columns."""
    kind = {"dir": "d", "symlink": "l"}.get(entry.kind, "x" if entry.executable else "-")
    cid = entry.cid or "-"
    target = f" -> {safe(entry.target)}" if entry.target is not None else ""
    return f"{kind} {entry.size:>15,} {time_text(entry.mtime):19} {cid:59} {short_line(out, entry)}{target}"


def time_text(mtime: float | None) -> str:
    """A time of change, in UTC; ``-`` if none was recorded."""
    if mtime is None:
        return "-"
    try:
        return datetime.fromtimestamp(mtime, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # beyond the calendar; the number itself is what was recorded
        return str(int(mtime))


def build() -> Any:
    """Makes the command."""
    return single(ls, "wherry ls bafyrei...", "wherry ls -l bafyrei.../train", "wherry ls --json bafyrei... | jq .entries")

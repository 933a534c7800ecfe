"""`export --torrent`: the files of a dataset, in the order of a torrent, through its hashes (specs/0036 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wherry.errors import UsageError
from wherry.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from wherry.results import LsEntry, Stat
    from wherry.torrent.metainfo import Metainfo


class Reader(Protocol):
    """The verbs that read: of a session."""

    async def stat(self, what: str) -> Stat:
        """See `Session.stat`."""

    def ls(self, what: str) -> AsyncGenerator[LsEntry, None]:
        """See `Session.ls`."""

    def cat(self, what: str) -> AsyncGenerator[bytes, None]:
        """See `Session.cat`."""


async def made(session: Reader, what: str, run: Metainfo, read: Callable[[int], None]) -> int:
    """Gives every file of ``what`` to ``run``; gives how many links were left out. ``read`` is told of each stretch."""
    kind = (await session.stat(what)).kind
    if kind == "file":
        await _file(session, what, (), run, read)
        return 0
    if "dir" not in kind and kind != "dataset":
        raise UsageError(f"{what} is a {kind}, of which there is no torrent")
    skipped = 0
    stack: list[tuple[str, ...]] = [()]
    while stack:
        parts = stack.pop()
        if parts and parts[-1] == "":
            await _file(session, "/".join([what, *parts[:-1]]), parts[:-1], run, read)
            continue
        found: list[tuple[bytes, tuple[str, ...]]] = []
        async for entry in session.ls("/".join([what, *parts])):
            if entry.kind == "symlink":
                skipped += 1
            else:
                below = (*parts, entry.name) if entry.kind == "dir" else (*parts, entry.name, "")
                found.append((entry.name.encode(), below))
        stack += [below for _, below in sorted(found, reverse=True)]
    return skipped


async def _file(session: Reader, what: str, parts: tuple[str, ...], run: Metainfo, read: Callable[[int], None]) -> None:
    run.begin(parts)
    async for piece in session.cat(what):
        await in_thread(lambda piece=piece: run.update(piece))  # type: ignore[misc]  # mypy takes no default in a lambda
        read(len(piece))
    await in_thread(run.end)

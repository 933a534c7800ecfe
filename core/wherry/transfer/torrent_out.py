"""`export --torrent`: the files of a dataset, in the order of a torrent, through its hashes (specs/0036 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from wherry.errors import UsageError
from wherry.limits import TORRENT_TRACKERS_MAX
from wherry.names import folded, portability, shown
from wherry.offload import in_thread
from wherry.torrent.addresses import trackers_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

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


def seed_of(address: str, cid: str, path: str) -> str:
    """Gives the address that a client puts the torrent's name behind: of the folder of CID[/PATH] at a gateway (BEP 19).

    Raises UsageError where ``address`` is none of a server.
    """
    hint = "the address of a `wherry serve`: http://HOST:PORT"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as problem:
        raise UsageError(f"{address!r} is no web seed: {problem}", hint=hint) from problem
    if not usable or parts.query or parts.fragment or not (address.isascii() and address.isprintable()) or " " in address:
        raise UsageError(f"{address!r} is no web seed", hint=hint)
    above = "/".join([cid, *path.split("/")][:-1]) if path else ""
    base = f"{address.rstrip('/').removesuffix('/ipfs')}/ipfs/"
    return f"{base}{quote(above)}/" if above else base


def check_trackers(addresses: Sequence[str]) -> None:
    """Raises UsageError for an address that no client takes for a tracker's."""
    taken = trackers_of(addresses)
    wrong = next((address for address in addresses if address not in taken), None)
    if wrong is not None and len(taken) == TORRENT_TRACKERS_MAX:
        raise UsageError(f"at most {TORRENT_TRACKERS_MAX} trackers can be named")
    if wrong is not None:
        raise UsageError(f"{wrong!a} is no tracker", hint="http://, https:// or udp://, and HOST:PORT")


def odd_names(paths: Iterable[tuple[str, ...]]) -> str | None:
    """Says which names of files and folders clients may change (the portable rule, specs/0003 §6): the first, and how many.

    A client that changes one asks a web seed for another file, which it has not, and never ends. None: there is none.
    """
    parts = dict.fromkeys(path[:depth] for path in paths for depth in range(1, len(path) + 1))
    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    first, count = "", 0
    for path in parts:
        problem, other = portability(path[-1]), same.setdefault((*path[:-1], folded(path[-1])), path)
        if problem is None and other != path:
            problem = f"differs from {shown(other[-1])} only by case or Unicode form"
        if problem is not None:
            count += 1
            first = first or f"{shown('/'.join(path))}: the name {problem}"
    if not count:
        return None
    others = f"; so it is with {count - 1:,} more name{'s' if count > 2 else ''}" if count > 1 else ""
    return f"{first}{others}. Ordinary clients may change these, and not finish; `wherry get` takes them with --names posix"


async def made(session: Reader, what: str, run: Metainfo, read: Callable[[int], None]) -> int:
    """Gives every file of ``what`` to ``run``; gives how many links were left out. ``read`` is told of each stretch."""
    stat = await session.stat(what)
    kind = stat.kind
    run.expect(stat.bytes)
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

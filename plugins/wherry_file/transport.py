"""The ``file`` transport: ``file:///PATH``, read directly. Like all bytes, these count when core has hashed them."""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wherry.abc.transport import Channel, Transport
from wherry.errors import PeerError, PeerUnreachable, UsageError, WherryError
from wherry.store.store import Store
from wherry.transfer.local import FilesChannel, HeldChannel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from wherry.abc.transport import Arrival, Lender, Want


class FileTransport(Transport):
    """Reads another home's blocks, or files that lie under the paths of the dataset."""

    schemes = frozenset({"file"})

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`; addresses are ``file:///PATH`` of a wherry home, a directory or a file."""
        path = path_of(address)
        if not os.path.exists(path):  # noqa: ASYNC240  # one look at a mounted disk; the reads are in threads
            raise PeerUnreachable(f"{address}: there is nothing at {path!r}", peer=address, hint="is the disk mounted?")
        opened = _open(path, address)
        try:
            yield HomeChannel(opened, address) if isinstance(opened, Store) else opened
        finally:
            opened.close()


class HomeChannel(HeldChannel):
    """Blocks of another home. What is wrong with it is a peer's fault to us."""

    def __init__(self, store: Store, address: str) -> None:
        super().__init__(store)
        self._address = address

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        try:
            async with aclosing(super().fetch(wants, lender)) as arrivals:
                async for arrival in arrivals:
                    yield arrival
        except WherryError as problem:
            raise PeerError(f"{self._address}: {problem.message}", peer=self._address, hint=problem.hint) from problem


def _open(path: str, address: str) -> Store | FilesChannel:
    try:
        if os.path.isfile(os.path.join(path, "FORMAT")) and os.path.isfile(os.path.join(path, "index.db")):
            return Store(Path(path), None)
        return FilesChannel(path)
    except WherryError as problem:
        raise PeerUnreachable(f"{address}: {problem.message}", peer=address, hint=problem.hint) from problem


def path_of(address: str) -> str:
    """Gives the path of a ``file:`` address. Raises UsageError."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        shown = "an address with a user" if "@" in parts.netloc else f"address {address!r}"  # which may have a password too
        raise UsageError(f"{shown} is not of the form file:///PATH", hint="write file:// and an absolute path")
    return os.path.normpath(path)

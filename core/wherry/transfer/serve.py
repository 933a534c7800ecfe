"""`serve`: the way of the data from this node's files to others.

    transport listens -> decodes a request -> `Store.find` (index only) -> checks that the file is unchanged -> sendfile

The transport does the work; here are the listeners of one node, opened and closed together.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import SupportsExchange
from wherry.address import split_address
from wherry.errors import UsageError
from wherry.transfer.guard import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.abc.transport import BlockSource, Transport


_OPEN_FILES: Final = 65_536  # enough for any number of requests that is worth to be allowed


class Serving:
    """A node that serves. ``listen`` are addresses that others can dial, one a listener; ``exchanging``, those of them at
    which it exchanges both ways.
    """

    def __init__(self, listen: list[str], exchanging: Sequence[str] = ()) -> None:
        self.listen = listen
        self.exchanging = exchanging

    async def forever(self) -> None:
        """Waits until cancelled."""
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(
    addresses: Sequence[str], transport_of: Callable[[str], Transport], source: BlockSource
) -> AsyncIterator[Serving]:
    """Serves ``source`` on all ``addresses`` until the context is left. Raises UsageError, LocalError."""
    _allow_open_files()
    async with AsyncExitStack() as stack:
        found, exchanging = [], []
        for address in addresses:
            transport = transport_of(address)
            if not hasattr(transport, "listen"):
                raise UsageError(f"the transport of {address!r} cannot serve", hint="listen on http://HOST:PORT")
            found.append(await stack.enter_async_context(listening(transport, split_address(address)[1], source)))
            if isinstance(transport, SupportsExchange):
                exchanging.append(found[-1])
        yield Serving(found, exchanging)


def _allow_open_files() -> None:
    """Raises the soft limit of open files towards the hard one. An answer under way holds three, so 1,024 end at 340."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a system with a lower bound of its own: what is allowed has to do
        return

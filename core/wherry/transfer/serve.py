"""`serve`: the way of the data from this node's files to others.

    transport listens -> decodes a request -> `Store.find` (index only) -> checks that the file is unchanged -> sendfile

The transport does the work; here are the listeners of one node, opened and closed together.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from wherry.abc.exchange import SupportsExchange
from wherry.accepting import allow_open_files
from wherry.address import split_address
from wherry.errors import UsageError
from wherry.redaction import masked
from wherry.transfer.guard import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.abc.transport import BlockSource, Transport


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
    allow_open_files()
    async with AsyncExitStack() as stack:
        found, exchanging = [], []
        for address in addresses:
            transport = transport_of(address)
            if not hasattr(transport, "listen"):
                raise UsageError(f"the transport of {masked(address)!r} cannot serve", hint="listen on http://HOST:PORT")
            found.append(await stack.enter_async_context(listening(transport, split_address(address)[1], source)))
            if isinstance(transport, SupportsExchange):
                exchanging.append(found[-1])
        yield Serving(found, exchanging)

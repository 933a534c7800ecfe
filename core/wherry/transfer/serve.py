"""`serve`: the way of the data from this node's files to others.

    transport listens -> decodes a request -> `Store.find` (index only) -> checks that the file is unchanged -> sendfile

The transport does the work; here are the listeners of one node, opened and closed together.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, cast

from wherry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.abc.transport import BlockSource, SupportsListen, Transport


class Serving:
    """A node that serves. ``listen`` are addresses that others can dial, one a listener."""

    def __init__(self, listen: list[str]) -> None:
        self.listen = listen

    async def forever(self) -> None:
        """Waits until cancelled."""
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(
    addresses: Sequence[str], transport_of: Callable[[str], Transport], source: BlockSource
) -> AsyncIterator[Serving]:
    """Serves ``source`` on all ``addresses`` until the context is left. Raises UsageError, LocalError."""
    async with AsyncExitStack() as stack:
        found = []
        for address in addresses:
            transport = transport_of(address)
            if not hasattr(transport, "listen"):
                raise UsageError(f"the transport of {address!r} cannot serve", hint="listen on http://HOST:PORT")
            found.append(await stack.enter_async_context(cast("SupportsListen", transport).listen(address, source)))
        yield Serving(found)

"""The serving side: answers questions from what wherry holds. Clients are strangers, so each thing of theirs is bounded."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from wherry.cid import CID
from wherry.errors import CIDError, UsageError, WherryError, local_error
from wherry.limits import BATCH_WANTS_MAX

from acme_api1.transport.wire import ABSENT, CID_BYTES, FULL, LENGTH, MAGIC, QUESTION, SCHEME, place_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.abc.transport import BlockSource, Held

    from acme_api1.transport.options import Options

CLIENTS_MAX: Final = 256
BLOCKS_MAX: Final = 8  # in memory at a time, whatever the number of clients
QUIET_S: Final = 300.0  # a client that asks nothing for so long is let go


class Server:
    """Serves one source to any number of clients."""

    def __init__(self, source: BlockSource, options: Options) -> None:
        self._source = source
        self._options = options
        self._memory = asyncio.Semaphore(BLOCKS_MAX)
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until it goes, breaks the protocol or is too slow."""
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS_MAX:
            writer.close()
            return
        self._clients[task] = writer
        try:
            with suppress(OSError, EOFError, TimeoutError, WherryError):  # of this client; others go on
                await self._talk(reader, writer)
        finally:
            del self._clients[task]
            writer.close()

    async def end(self) -> None:
        """Cuts all clients off and waits for what they had under way."""
        tasks = list(self._clients)
        for writer in self._clients.values():
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._options.idle_timeout):
            if await reader.readexactly(len(MAGIC)) != MAGIC:
                return
        writer.write(MAGIC)
        while True:
            async with asyncio.timeout(QUIET_S):
                count, room = QUESTION.unpack(await reader.readexactly(QUESTION.size))
            if not 0 < count <= BATCH_WANTS_MAX:
                return
            async with asyncio.timeout(self._options.idle_timeout):
                names = await reader.readexactly(count * CID_BYTES)
            try:
                cids = [CID(names[at : at + CID_BYTES]) for at in range(0, len(names), CID_BYTES)]
            except CIDError:
                return
            for held in await asyncio.to_thread(self._source.find, cids):
                if held is not None and held.size > room:
                    writer.write(LENGTH.pack(FULL))
                    break
                room -= await self._send(writer, held)
            async with asyncio.timeout(self._options.idle_timeout):
                await writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, held: Held | None) -> int:
        """Sends one block, or that there is none; gives how many bytes of it went."""
        if held is None:
            writer.write(LENGTH.pack(ABSENT))
            return 0
        async with self._memory:
            data = bytearray(held.size)
            try:
                await asyncio.to_thread(held.read_into, memoryview(data))
            except WherryError:  # its file has changed, or is gone
                writer.write(LENGTH.pack(ABSENT))
                return 0
            writer.write(LENGTH.pack(len(data)))
            writer.write(data)
            async with asyncio.timeout(self._options.idle_timeout):
                await writer.drain()
        return len(data)


@asynccontextmanager
async def listen(address: str, source: BlockSource, options: Options, *, allow_public: bool) -> AsyncIterator[str]:
    """See `SupportsListen.listen`. Nobody proves who they are here, so an address for others needs leave."""
    place = place_of(address)
    if not (is_loopback(place.host) or allow_public):
        raise UsageError(
            f"{place.host} is open to other machines, and there is no token", hint="say --allow-public if you mean it"
        )
    server = Server(source, options)
    try:
        listener = await asyncio.start_server(server.client, place.host, place.port)
    except OSError as problem:
        raise local_error(problem, "cannot listen on", address) from problem
    try:
        port = listener.sockets[0].getsockname()[1]
        yield f"{SCHEME}://{f'[{place.host}]' if ':' in place.host else place.host}:{port}"
    finally:
        listener.close()
        await server.end()
        await listener.wait_closed()


def is_loopback(host: str) -> bool:
    """Tells whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The transport: connects to a source and receives its blocks straight into lent buffers. It decides nothing about them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.abc.transport import Arrival, Channel, Laid, Transport
from wherry.buffers import ROOM
from wherry.dial import NAMED, Dial
from wherry.errors import PeerProtocolError, PeerTimeout, PeerUnreachable

from acme_api1.transport.options import Options
from acme_api1.transport.wire import ABSENT, FULL, LENGTH, MAGIC, RATE_MIN, SCHEME, Place, place_of, question

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.transport import BlockSource, Lender, Want
    from wherry.buffers import Buffer


class TcpTransport(Transport):
    """Blocks over TCP."""

    schemes = frozenset({SCHEME})

    def __init__(self, options: Options | None = None, *, allow_public: bool = False, dial: Dial = NAMED) -> None:
        self._options = options or Options()
        self._allow_public = allow_public
        self._dial = dial

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`. A first connection is made at once: it proves that a source is there."""
        channel = TcpChannel(address, place_of(address), self._options, self._dial)
        try:
            await channel.prove()
            yield channel
        finally:
            channel.close()

    def listen(self, address: str, source: BlockSource) -> AbstractAsyncContextManager[str]:
        """See `SupportsListen.listen`."""
        from acme_api1.transport.server import listen

        return listen(address, source, self._options, allow_public=self._allow_public)


class TcpChannel(Channel):
    """A way to one source: some connections, each used for one question at a time."""

    def __init__(self, address: str, place: Place, options: Options, dial: Dial) -> None:
        self._address = address
        self._place = place
        self._options = options
        self._dial = dial
        self._idle: list[socket.socket] = []
        self._turn = asyncio.Semaphore(options.connections)
        self.parallel = options.connections  # type: ignore[misc]  # an instance's own number, as configured

    async def prove(self) -> None:
        """Makes a first connection. Raises PeerError."""
        async with self._mapped():
            self._idle.append(await self._open())

    def close(self) -> None:
        """Ends the connections; fetches are over by then."""
        while self._idle:
            self._idle.pop().close()

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`: one buffer takes the whole answer."""
        buffer = await lender.lend()
        try:
            async with self._turn, self._mapped():
                arrival = await self._ask(wants, buffer)
        except BaseException:
            buffer.release()
            raise
        yield arrival

    async def _ask(self, wants: Sequence[Want], buffer: Buffer) -> Arrival:
        line = self._idle.pop() if self._idle else await self._open()
        try:
            await asyncio.get_running_loop().sock_sendall(line, question(wants, len(buffer.view) - ROOM))
            arrival = await self._answer(line, wants, buffer)
        except BaseException:
            line.close()  # what is still on its way belongs to no question
            raise
        self._idle.append(line)
        return arrival

    async def _answer(self, line: socket.socket, wants: Sequence[Want], buffer: Buffer) -> Arrival:
        at, missing = ROOM, list[int]()
        blocks: list[Laid] = []
        head = bytearray(LENGTH.size)
        for number, want in enumerate(wants):
            await self._fill(line, memoryview(head))
            (length,) = LENGTH.unpack(head)
            if length == ABSENT:
                missing.append(number)
                continue
            if length == FULL and want.size is None and (blocks or missing):
                break
            if at + length > len(buffer.view) or want.size not in (None, length):
                raise PeerProtocolError(f"{self._address} says {length} bytes for a block of {want.size}", peer=self._address)
            await self._fill(line, buffer.view[at : at + length])
            blocks.append(Laid(number, at, at + length))
            at += length
        return Arrival(buffer, blocks, missing)

    async def _open(self) -> socket.socket:
        """Connects and exchanges MAGIC. Each resolved address is shown to ``dial`` first: strangers may have named it."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._options.connect_timeout):
            found = await loop.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
            family, kind, protocol, _, target = found[0]
            self._dial.check(str(target[0]), self._address)
            line = socket.socket(family, kind, protocol)
            try:
                line.setblocking(False)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(line, target)
                await loop.sock_sendall(line, MAGIC)
                theirs = bytearray(len(MAGIC))
                await self._fill(line, memoryview(theirs))
                if theirs != MAGIC:
                    raise PeerProtocolError(f"{self._address} does not speak {SCHEME}", peer=self._address)
            except BaseException:
                line.close()
                raise
        return line

    async def _fill(self, line: socket.socket, view: memoryview) -> None:
        """Receives until ``view`` is full; in pieces, each in time, and all of it at RATE_MIN or more."""
        loop, idle = asyncio.get_running_loop(), self._options.idle_timeout
        async with asyncio.timeout(idle + len(view) / RATE_MIN):
            while view:
                async with asyncio.timeout(idle):
                    count = await loop.sock_recv_into(line, view)
                if not count:
                    raise PeerProtocolError(f"{self._address} cut its answer short", peer=self._address)
                view = view[count:]

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        """Turns what the system raises into wherry's errors, which name the peer."""
        try:
            yield
        except TimeoutError as problem:
            raise PeerTimeout(f"{self._address} is silent, or very slow", peer=self._address) from problem
        except OSError as problem:
            words = f"{self._address}: {problem.strerror or problem}"
            raise PeerUnreachable(words, peer=self._address, hint="does it serve there?") from problem

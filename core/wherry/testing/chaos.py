"""A TCP proxy that does to a connection what bad networks do, repeatably from a seed.

It knows nothing of what passes through it: point it at any server, hand its port to the client, and read off its counters
what really happened. Where bytes are flipped and which connections are cut depends on the seed, the number of the
connection and the place in the stream alone, never on how the bytes happened to be cut into reads.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

Way = Literal["up", "down"]  # towards the server, towards the client

_READ_BYTES: Final = 64 * 1024
_IN_FLIGHT_PIECES: Final = 64  # read and not yet due: 4 MiB a direction, and then the sender is held up
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with time 0: closing sends RST and drops what is queued


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What happens to one direction of a connection. Counts and places are in bytes of that direction; None: never."""

    latency_s: float = 0.0
    jitter_s: float = 0.0  # added to latency_s, evenly between 0 and this; order is kept
    rate: float | None = None  # bytes a second
    slice: int | None = None  # pass on at most so many bytes at a time
    corrupt_p: float = 0.0  # chance of each byte to have one bit flipped
    reset_after: int | None = None  # then both sides get RST
    reset_p: float = 1.0  # chance of a connection to be one that reset_after concerns
    truncate_at: int | None = None  # then a clean end, as if the sender were done
    stall_after: int | None = None  # then nothing more is read or passed on, and the connection stays open
    blackhole: bool = False  # read everything, pass on nothing

    def __post_init__(self) -> None:
        if not (0 <= self.corrupt_p < 1 and 0 <= self.reset_p <= 1):
            raise ValueError("a chance is between 0 and 1")
        if (self.slice is not None and self.slice < 1) or (self.rate is not None and self.rate <= 0):
            raise ValueError("slice and rate are above 0")


CALM: Final = Chaos()


_Line: TypeAlias = "asyncio.Queue[tuple[float, bytes] | None]"  # pieces and when each is due; None: the end


class _ResetNow(Exception):
    """The plan of this connection says: cut here."""


@dataclass(eq=False, slots=True)
class _Link:
    number: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def reset(self) -> None:
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
        for writer in self.writers:
            with suppress(OSError):
                await writer.wait_closed()


class ChaosProxy:
    """Listens on a free port of loopback and passes connections on to ``target``, with ``up`` and ``down`` applied.

    An async context manager that belongs to one event loop; leaving it cuts every connection. From a test that has no
    loop, use ``wherry.testing.loop.running``. ``up``, ``down`` and ``refusing`` may be set at any time: they
    hold for what is read next.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        seed: int = 0,
        up: Chaos = CALM,
        down: Chaos = CALM,
        refuse_p: float = 0.0,
        held: int | None = None,
    ) -> None:
        """``held``: bytes that lie between server and client at the most, about, as in the queues of routers.

        None: some MiB, as in the buffers of this machine; at a low ``rate`` what is sent last then comes seconds later.
        """
        self.target = target
        self.held = held
        self.seed = seed
        self.up = up
        self.down = down
        self.refuse_p = refuse_p
        self.refusing = False  # new connections get RST
        self.host = "127.0.0.1"
        self.port = 0  # known once entered
        self.passed: Counter[Way] = Counter()  # bytes handed on, by way
        self.flipped: Counter[Way] = Counter()  # bytes corrupted, by way
        self.connections = 0  # taken, refused ones too
        self.refused = 0
        self.resets = 0  # connections cut by reset_after or `cut`
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def address(self) -> str:
        """``host:port`` to dial."""
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that are passed on at this moment."""
        return len(self._links)

    def cut(self) -> int:
        """Resets every open connection now; tells how many there were."""
        cut = len(self._links)
        self.resets += cut
        for link in self._links:
            link.reset()
        return cut

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        link = _Link(self.connections, [writer])
        try:
            if self.refusing or random.Random(f"{self.seed}/{link.number}/refuse").random() < self.refuse_p:
                self.refused += 1
                link.reset()
            else:
                await self._join(link, reader)
        except BaseExceptionGroup as group:  # what `except*` raises again: the end of a task that was told to end
            if group.split(asyncio.CancelledError)[1] is not None:
                raise
        finally:
            self._links.discard(link)
            await link.close()

    async def _join(self, link: _Link, reader: asyncio.StreamReader) -> None:
        try:
            server_reader, server_writer = await self._dialled()
            link.writers.append(server_writer)
            self._links.add(link)
            await self._pass(link, reader, server_reader)
        except* _ResetNow:
            self.resets += 1
            link.reset()
        except* OSError:  # one side is gone: so is the other
            link.reset()
        except* asyncio.CancelledError:
            link.reset()
            raise

    async def _dialled(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.held is None:
            return await asyncio.open_connection(*self.target)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.held // 8)  # of which the kernel makes the double
            await asyncio.get_running_loop().sock_connect(sock, self.target)
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock, limit=self.held // 8)

    def _pieces(self, way: Way) -> int:
        """Gives how many pieces may lie between the two."""
        rate = (self.up if way == "up" else self.down).rate
        if self.held is None or rate is None:
            return _IN_FLIGHT_PIECES
        return max(2, self.held // 2 // _piece_bytes(rate))

    async def _pass(self, link: _Link, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        to_client, to_server = link.writers
        ways: list[tuple[Way, asyncio.StreamReader, asyncio.StreamWriter]] = [
            ("up", from_client, to_server),
            ("down", from_server, to_client),
        ]
        async with asyncio.TaskGroup() as group:
            for way, source, sink in ways:
                sink.transport.set_write_buffer_limits(high=0)  # `drain` then means: the kernel has it
                flow = _Flow(self, link.number, way)
                line: _Line = asyncio.Queue(self._pieces(way))
                group.create_task(flow.take_in(source, line))
                group.create_task(flow.hand_on(line, sink))


def _piece_bytes(rate: float) -> int:
    """Gives what 20 ms bring: a slow line is smooth, not a row of bursts."""
    return max(1, int(rate / 50))


async def _forever() -> None:
    await asyncio.Event().wait()  # until the connection's tasks are cancelled


class _Flow:
    """One direction of one connection: `take_in` fills the line, `hand_on` empties it when each piece is due."""

    def __init__(self, proxy: ChaosProxy, number: int, way: Way) -> None:
        self.proxy = proxy
        self.way = way
        self.place = 0  # bytes of this direction handed to the line
        self.rng = random.Random(f"{proxy.seed}/{number}/{way}")
        self.jitter_rng = random.Random(f"{proxy.seed}/{number}/{way}/jitter")  # drawn once a piece, so kept apart
        self.fated = self.rng.random()  # below reset_p: reset_after concerns this connection
        self.flip_at: int | None = None
        self.flip_p = 0.0
        self.free_at = 0.0  # when the line has room for the next byte, by `rate`

    async def take_in(self, source: asyncio.StreamReader, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(_READ_BYTES):
            rest = data
            while rest:
                chaos = self.chaos
                piece, rest = self._next_piece(chaos, rest)
                if not chaos.blackhole and piece:
                    due = loop.time() + chaos.latency_s + self.jitter_rng.random() * chaos.jitter_s
                    await line.put((due, self._corrupted(chaos, piece)))
                self.place += len(piece)
                if chaos.stall_after is not None and self.place >= chaos.stall_after:
                    await _forever()
                if chaos.truncate_at is not None and self.place >= chaos.truncate_at:
                    await line.put(None)
                    while await source.read(_READ_BYTES):  # a sender that goes on is not held up: nobody hears it
                        pass
                    return
                if self._resets(chaos) and chaos.reset_after is not None and self.place >= chaos.reset_after:
                    await line.join()
                    raise _ResetNow
        if self.chaos.blackhole:
            await _forever()  # a black hole passes no end on either
        await line.put(None)

    async def hand_on(self, line: _Line, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while (item := await line.get()) is not None:
            due, piece = item
            rate = self.chaos.rate
            if rate is not None:
                due = max(due, self.free_at)
                self.free_at = max(due, loop.time()) + len(piece) / rate
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            sink.write(piece)
            await sink.drain()
            self.proxy.passed[self.way] += len(piece)
            line.task_done()
        if sink.can_write_eof():
            sink.write_eof()

    @property
    def chaos(self) -> Chaos:
        return self.proxy.up if self.way == "up" else self.proxy.down

    def _resets(self, chaos: Chaos) -> bool:
        return self.fated < chaos.reset_p

    def _next_piece(self, chaos: Chaos, data: bytes) -> tuple[bytes, bytes]:
        """Splits off what can go in one piece: up to the next place where something happens."""
        size = min(len(data), chaos.slice or len(data))
        if chaos.rate is not None:
            size = min(size, _piece_bytes(chaos.rate))
        stops = [chaos.stall_after, chaos.truncate_at, chaos.reset_after if self._resets(chaos) else None]
        for stop in stops:
            if stop is not None:
                size = min(size, max(0, stop - self.place))
        return (data[:size], data[size:]) if size else (b"", b"")  # size 0: that place is behind us, so nothing follows

    def _corrupted(self, chaos: Chaos, piece: bytes) -> bytes:
        if chaos.corrupt_p != self.flip_p:
            self.flip_p = chaos.corrupt_p
            self.flip_at = self._gap(self.place)
        if self.flip_at is None or self.flip_at >= self.place + len(piece):
            return piece
        data = bytearray(piece)
        while self.flip_at is not None and self.flip_at < self.place + len(piece):
            data[self.flip_at - self.place] ^= 1 << self.rng.randrange(8)
            self.proxy.flipped[self.way] += 1
            self.flip_at = self._gap(self.flip_at + 1)
        return bytes(data)

    def _gap(self, place: int) -> int | None:
        """Gives the place of the next flipped byte at or behind ``place``: gaps between rare events are geometric."""
        if self.flip_p == 0:
            return None
        return place + int(math.log(1.0 - self.rng.random()) / math.log1p(-self.flip_p))
